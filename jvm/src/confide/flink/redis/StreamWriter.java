package confide.flink.redis;

import confide.ConfideException;
import confide.RecordSealer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.CommittingSinkWriter;
import org.apache.flink.api.connector.sink2.StatefulSinkWriter;
import org.apache.flink.table.data.RowData;

/** Seals rows as one producer, which counts on where the checkpoint says that it was. */
final class StreamWriter
    implements StatefulSinkWriter<RowData, Batch.Count>, CommittingSinkWriter<RowData, Batch> {
  private static final long MAX_WAITING_BYTES = 128L * 1024 * 1024;

  private final SerializationSchema<RowData> format;
  private final List<Batch.Count> others = new ArrayList<>();
  private final RecordSealer sealer;
  private List<byte[]> waiting = new ArrayList<>();
  private long waitingBytes;

  /** @param counts producers to go on with; after a change of the parallelism none, or several, of which one is enough */
  StreamWriter(String location, SerializationSchema<RowData> format, Collection<Batch.Count> counts) throws IOException {
    this.format = format;
    Batch.Count own = null;
    for (Batch.Count count : counts) {
      if (own == null) {
        own = count;
      } else {
        others.add(count);
      }
    }
    sealer = own == null
        ? new RecordSealer(location, RecordSealer.newProducer(), 0)
        : new RecordSealer(location, HexFormat.of().parseHex(own.producer()), own.number());
  }

  @Override
  public void write(RowData row, Context context) throws IOException {
    byte[] plain = format.serialize(row);
    if (plain == null) {
      return;
    }
    byte[] record = sealer.seal(plain);
    waitingBytes += record.length;
    if (waitingBytes > MAX_WAITING_BYTES) {
      throw new ConfideException("Misuse", "more than 128 MiB of records wait for a checkpoint, at which they are "
          + "appended: checkpoints are off, or too far apart (execution.checkpointing.interval)");
    }
    waiting.add(record);
  }

  @Override
  public void flush(boolean endOfInput) {}

  @Override
  public Collection<Batch> prepareCommit() {
    if (waiting.isEmpty()) {
      return List.of();
    }
    long first = sealer.number() - waiting.size() + 1;
    Batch batch = new Batch(HexFormat.of().formatHex(sealer.producer()), sealer.dataKey(), first, waiting);
    waiting = new ArrayList<>();
    waitingBytes = 0;
    return List.of(batch);
  }

  @Override
  public List<Batch.Count> snapshotState(long checkpoint) {
    List<Batch.Count> counts = new ArrayList<>(others);
    counts.add(0, new Batch.Count(HexFormat.of().formatHex(sealer.producer()), sealer.number()));
    return counts;
  }

  @Override
  public void close() {}
}
