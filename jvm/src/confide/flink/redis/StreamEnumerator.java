package confide.flink.redis;

import confide.ConfideException;
import confide.flink.Refusals;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;

/** Finds out where to begin and to end, and gives the one split to the one reader. Its state: whether it has. */
final class StreamEnumerator implements SplitEnumerator<StreamSplit, Boolean> {
  private final SplitEnumeratorContext<StreamSplit> context;
  private final RedisAddress address;
  private final StreamSource.Range range;
  private boolean given;
  private StreamSplit waiting;

  StreamEnumerator(SplitEnumeratorContext<StreamSplit> context, RedisAddress address, StreamSource.Range range,
      boolean given) {
    this.context = context;
    this.address = address;
    this.range = range;
    this.given = given;
  }

  @Override
  public void start() {
    if (!given) {
      context.callAsync(this::begin, (split, failure) -> {
        if (failure != null) {
          throw new IllegalStateException("the stream cannot be read", failure);
        }
        waiting = split;
        give();
      });
    }
  }

  private StreamSplit begin() throws IOException {
    EntryId newest = EntryId.NONE;
    if (range.fromNewest() || range.toNewest()) {
      try (RedisStream stream = new RedisStream(address)) {
        newest = stream.newest();
      } catch (ConfideException e) {
        throw Refusals.lasting(e);
      }
    }
    return new StreamSplit(range.fromNewest() ? newest : EntryId.NONE, range.toNewest() ? newest : null,
        range.whole(), new HashMap<>());
  }

  private void give() {
    if (waiting != null && !context.registeredReaders().isEmpty()) {
      int reader = context.registeredReaders().keySet().iterator().next();
      context.assignSplit(waiting, reader);
      context.signalNoMoreSplits(reader);
      waiting = null;
      given = true;
    }
  }

  @Override
  public void handleSplitRequest(int reader, String host) {}

  @Override
  public void addSplitsBack(List<StreamSplit> splits, int reader) {
    for (StreamSplit split : splits) {
      waiting = split;
    }
    give();
  }

  @Override
  public void addReader(int reader) {
    if (waiting != null) {
      give();
    } else if (given) {
      context.signalNoMoreSplits(reader); // it has the split in its own state
    }
  }

  @Override
  public Boolean snapshotState(long checkpoint) {
    return given;
  }

  @Override
  public void close() {}
}
