package confide.flink.redis;

import confide.ConfideException;
import confide.flink.Refusals;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.connector.base.source.reader.RecordsBySplits;
import org.apache.flink.connector.base.source.reader.RecordsWithSplitIds;
import org.apache.flink.connector.base.source.reader.splitreader.SplitReader;
import org.apache.flink.connector.base.source.reader.splitreader.SplitsChange;

/** Fetches entries, on a thread of its own; they are opened where they are emitted. */
final class StreamReader implements SplitReader<RedisStream.Entry, StreamSplit> {
  private static final int WAIT_MS = 500;
  private static final long IDLE_NS = 30_000_000_000L;

  private final RedisAddress address;
  private RedisStream stream;
  private String split;
  private EntryId after;
  private EntryId end;
  private long used;

  StreamReader(RedisAddress address) {
    this.address = address;
  }

  @Override
  public void handleSplitsChanges(SplitsChange<StreamSplit> change) {
    StreamSplit given = change.splits().get(0);
    split = given.splitId();
    after = given.after();
    end = given.end();
  }

  @Override
  public RecordsWithSplitIds<RedisStream.Entry> fetch() throws IOException {
    try {
      return end == null ? records(connected().after(after, WAIT_MS), false) : toEnd();
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    } finally {
      used = System.nanoTime();
    }
  }

  private RecordsWithSplitIds<RedisStream.Entry> toEnd() throws IOException {
    if (after.compareTo(end) >= 0) {
      return records(List.of(), true);
    }
    List<RedisStream.Entry> entries = connected().after(after, 0);
    if (entries.isEmpty()) {
      throw new ConfideException("Tampered", "the stream ends before entry " + end + ", which was its last one");
    }
    List<RedisStream.Entry> wanted = entries.stream().filter(entry -> entry.id().compareTo(end) <= 0).toList();
    return records(wanted, entries.get(entries.size() - 1).id().compareTo(end) >= 0);
  }

  private RecordsWithSplitIds<RedisStream.Entry> records(List<RedisStream.Entry> entries, boolean last) {
    if (!entries.isEmpty()) {
      after = entries.get(entries.size() - 1).id();
    }
    return new RecordsBySplits<>(
        entries.isEmpty() ? Map.of() : Map.of(split, entries), last ? Set.of(split) : Set.of());
  }

  /** The connection; a new one where nothing was asked for so long that the old one may have been closed. */
  private RedisStream connected() throws IOException {
    if (stream != null && System.nanoTime() - used > IDLE_NS) {
      close();
    }
    if (stream == null) {
      stream = new RedisStream(address);
    }
    return stream;
  }

  @Override
  public void wakeUp() {
    // a fetch waits half a second for records, and ends by its deadline
  }

  @Override
  public void close() throws IOException {
    if (stream != null) {
      stream.close();
      stream = null;
    }
  }
}
