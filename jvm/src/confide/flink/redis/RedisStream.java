package confide.flink.redis;

import confide.ConfideException;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A stream of sealed records in a Redis: what it holds is the Redis's word until it is opened. */
final class RedisStream implements Closeable {
  /** Entries of one reply; at most 64 MiB of records. */
  static final int MAX_ENTRIES = 256;

  private static final byte[] FIELD = "record".getBytes(StandardCharsets.US_ASCII);
  private static final String APPEND = script();

  /** An entry: its id, and the sealed record in it. */
  record Entry(EntryId id, byte[] record) {}

  private final Redis redis;
  private final String name;

  RedisStream(RedisAddress address) throws IOException {
    redis = address.connect();
    name = address.stream();
  }

  /** The id of the newest entry; {@link EntryId#NONE}: there is none. */
  EntryId newest() throws IOException {
    List<Entry> entries = entries(redis.call("XREVRANGE", name, "+", "-", "COUNT", 1));
    return entries.isEmpty() ? EntryId.NONE : entries.get(0).id;
  }

  /** Entries after one, in their order; waits for some where {@code waitMs} is not 0. */
  List<Entry> after(EntryId last, int waitMs) throws IOException {
    Object reply = waitMs == 0
        ? redis.call("XREAD", "COUNT", MAX_ENTRIES, "STREAMS", name, last)
        : redis.call("XREAD", "COUNT", MAX_ENTRIES, "BLOCK", waitMs, "STREAMS", name, last);
    if (reply == null) {
      return List.of();
    }
    List<?> streams = list(reply, 1);
    List<Entry> entries = entries(list(streams.get(0), 2).get(1));
    EntryId before = last;
    for (Entry entry : entries) {
      if (entry.id.compareTo(before) <= 0) {
        throw new ConfideException("Tampered", "Redis gives entries that are not in the order of their ids");
      }
      before = entry.id;
    }
    return entries;
  }

  /**
   * Appends records of one producer that follow one another, each once: those that the stream has had are left out.
   *
   * @param dataKey id of the key that they are sealed under
   * @param first number of the first
   */
  void append(String producer, String dataKey, long first, List<byte[]> records) throws IOException {
    for (int at = 0; at < records.size(); at += MAX_ENTRIES) {
      List<byte[]> part = records.subList(at, Math.min(at + MAX_ENTRIES, records.size()));
      List<Object> command = new ArrayList<>(
          List.of("EVAL", APPEND, 2, name, "{" + name + "}:producers", producer, dataKey, first + at));
      command.addAll(part);
      redis.call(command.toArray());
    }
  }

  private static List<Entry> entries(Object reply) throws IOException {
    List<Entry> entries = new ArrayList<>();
    for (Object each : list(reply, -1)) {
      List<?> entry = list(each, 2);
      EntryId id = EntryId.parse(new String(bytes(entry.get(0)), StandardCharsets.ISO_8859_1));
      List<?> fields = list(entry.get(1), -1);
      if (fields.size() != 2 || !Arrays.equals(bytes(fields.get(0)), FIELD)) {
        throw new ConfideException("NotEncrypted", "an entry of the stream has other fields than a sealed record");
      }
      entries.add(new Entry(id, bytes(fields.get(1))));
    }
    return entries;
  }

  private static List<?> list(Object reply, int size) throws IOException {
    if (reply instanceof List<?> list && (size < 0 || list.size() == size)) {
      return list;
    }
    throw new ConfideException("InvalidFormat", "Redis gives another answer than was asked for");
  }

  private static byte[] bytes(Object reply) throws IOException {
    if (reply instanceof byte[] bytes) {
      return bytes;
    }
    throw new ConfideException("InvalidFormat", "Redis gives another answer than was asked for");
  }

  private static String script() {
    try (InputStream in = RedisStream.class.getResourceAsStream("/confide/append.lua")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new IllegalStateException("the jar holds the script", e);
    }
  }

  @Override
  public void close() throws IOException {
    redis.close();
  }
}
