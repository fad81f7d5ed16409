package confide.flink.redis;

import confide.ConfideException;
import confide.flink.Refusals;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.Committer;
import org.apache.flink.api.connector.sink2.CommitterInitContext;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.StatefulSinkWriter;
import org.apache.flink.api.connector.sink2.SupportsCommitter;
import org.apache.flink.api.connector.sink2.SupportsWriterState;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.apache.flink.table.data.RowData;

/**
 * Seals rows into a stream, exactly once: records are sealed once, wait in the checkpoint, and are appended when it is
 * complete; appending again changes nothing.
 */
final class StreamSink
    implements Sink<RowData>, SupportsWriterState<RowData, Batch.Count>, SupportsCommitter<Batch> {
  private static final long serialVersionUID = 1L;

  private final RedisAddress address;
  private final SerializationSchema<RowData> format;

  StreamSink(RedisAddress address, SerializationSchema<RowData> format) {
    this.address = address;
    this.format = format;
  }

  @Override
  public StreamWriter createWriter(WriterInitContext context) throws IOException {
    return restoreWriter(context, List.of());
  }

  @Override
  public StreamWriter restoreWriter(WriterInitContext context, Collection<Batch.Count> counts) throws IOException {
    try {
      format.open(context.asSerializationSchemaInitializationContext());
      return new StreamWriter(address.location(), format, counts);
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    } catch (IOException | RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IOException(e);
    }
  }

  @Override
  public SimpleVersionedSerializer<Batch.Count> getWriterStateSerializer() {
    return new Batch.Count.Serializer();
  }

  @Override
  public SimpleVersionedSerializer<Batch> getCommittableSerializer() {
    return new Batch.Serializer();
  }

  @Override
  public Committer<Batch> createCommitter(CommitterInitContext context) {
    return new Committer<>() {
      @Override
      public void commit(Collection<CommitRequest<Batch>> requests) throws IOException {
        if (requests.isEmpty()) {
          return;
        }
        try (RedisStream stream = new RedisStream(address)) {
          for (CommitRequest<Batch> request : requests) {
            Batch batch = request.getCommittable();
            stream.append(batch.producer(), batch.dataKey(), batch.first(), batch.records());
          }
        } catch (ConfideException e) {
          throw Refusals.lasting(e);
        } catch (Redis.Failed e) {
          if (e.said.startsWith("GAP")) {
            throw new SuppressRestartsException(new ConfideException("Tampered",
                "the Redis has lost records of " + address.location() + ": " + e.said));
          }
          if (e.said.startsWith("ROLLBACK")) {
            throw new SuppressRestartsException(new ConfideException("Rollback",
                "this job was started from an older checkpoint than " + address.location() + " has had: " + e.said));
          }
          throw e;
        }
      }

      @Override
      public void close() {}
    };
  }
}
