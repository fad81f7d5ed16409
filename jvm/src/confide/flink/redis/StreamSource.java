package confide.flink.redis;

import confide.ConfideException;
import confide.RecordOpener;
import confide.flink.Refusals;
import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeutils.base.BooleanSerializer;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceOutput;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.source.reader.RecordEmitter;
import org.apache.flink.connector.base.source.reader.SingleThreadMultiplexSourceReaderBase;
import org.apache.flink.connector.base.source.reader.SourceReaderOptions;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.core.io.SimpleVersionedSerializerAdapter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.data.RowData;
import org.apache.flink.util.Collector;
import org.apache.flink.util.UserCodeClassLoader;

/** A stream of sealed records, exactly once: what a checkpoint says was read is what was opened, in unbroken order. */
final class StreamSource implements Source<RowData, StreamSplit, Boolean> {
  private static final long serialVersionUID = 1L;

  /**
   * What is read.
   *
   * @param fromNewest only what comes after the newest entry of now; else from the oldest one
   * @param toNewest up to the newest entry of now; else without end
   * @param whole whether producers begin with their first record
   */
  record Range(boolean fromNewest, boolean toNewest, boolean whole) implements Serializable {}

  private final RedisAddress address;
  private final Range range;
  private final DeserializationSchema<RowData> format;

  StreamSource(RedisAddress address, Range range, DeserializationSchema<RowData> format) {
    this.address = address;
    this.range = range;
    this.format = format;
  }

  @Override
  public Boundedness getBoundedness() {
    return range.toNewest ? Boundedness.BOUNDED : Boundedness.CONTINUOUS_UNBOUNDED;
  }

  @Override
  public SplitEnumerator<StreamSplit, Boolean> createEnumerator(SplitEnumeratorContext<StreamSplit> context) {
    return new StreamEnumerator(context, address, range, false);
  }

  @Override
  public SplitEnumerator<StreamSplit, Boolean> restoreEnumerator(
      SplitEnumeratorContext<StreamSplit> context, Boolean given) {
    return new StreamEnumerator(context, address, range, given);
  }

  @Override
  public SimpleVersionedSerializer<StreamSplit> getSplitSerializer() {
    return new StreamSplit.Serializer();
  }

  @Override
  public SimpleVersionedSerializer<Boolean> getEnumeratorCheckpointSerializer() {
    return new SimpleVersionedSerializerAdapter<>(BooleanSerializer.INSTANCE);
  }

  @Override
  public SourceReader<RowData, StreamSplit> createReader(SourceReaderContext context) throws Exception {
    format.open(new DeserializationSchema.InitializationContext() {
      @Override
      public MetricGroup getMetricGroup() {
        return context.metricGroup();
      }

      @Override
      public UserCodeClassLoader getUserCodeClassLoader() {
        return context.getUserCodeClassLoader();
      }
    });
    return new Reader(context);
  }

  /** What a Redis sends is large if it likes: one reply waits, and not two, as is Flink's default. */
  private static Configuration oneAhead() {
    return new Configuration().set(SourceReaderOptions.ELEMENT_QUEUE_CAPACITY, 1);
  }

  /** The split as it moves on, and what opens its records. */
  private static final class Progress {
    private final StreamSplit split;
    private final RecordOpener opener;
    private EntryId after;

    Progress(StreamSplit split, RecordOpener opener) {
      this.split = split;
      this.opener = opener;
      this.after = split.after();
    }
  }

  private final class Reader
      extends SingleThreadMultiplexSourceReaderBase<RedisStream.Entry, RowData, StreamSplit, Progress> {
    Reader(SourceReaderContext context) {
      super(() -> new StreamReader(address), new Emitter(), oneAhead(), context);
    }

    @Override
    protected Progress initializedState(StreamSplit split) {
      try {
        return new Progress(split, new RecordOpener(address.location(), split.last(), split.whole()));
      } catch (ConfideException e) {
        throw Refusals.lasting(e);
      }
    }

    @Override
    protected StreamSplit toSplitType(String id, Progress progress) {
      StreamSplit split = progress.split;
      return new StreamSplit(progress.after, split.end(), split.whole(), new HashMap<>(split.last()));
    }

    @Override
    protected void onSplitFinished(Map<String, Progress> finished) {}
  }

  private final class Emitter implements RecordEmitter<RedisStream.Entry, RowData, Progress> {
    @Override
    public void emitRecord(RedisStream.Entry entry, SourceOutput<RowData> output, Progress progress) throws Exception {
      byte[] plain;
      try {
        plain = progress.opener.open(entry.record());
      } catch (ConfideException e) {
        throw Refusals.lasting(e);
      }
      progress.after = entry.id();
      format.deserialize(plain, new Collector<>() {
        @Override
        public void collect(RowData row) {
          output.collect(row);
        }

        @Override
        public void close() {}
      });
    }
  }
}
