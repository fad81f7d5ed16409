package confide.flink.redis;

import java.io.IOException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;

/**
 * How far a stream was read: what a checkpoint holds of a source. There is one for each source.
 *
 * @param after id of the entry that was read last
 * @param end id of the last entry to read; null: there is no end
 * @param whole whether producers begin with their first record
 * @param last producer -> number of its record that was opened last
 */
record StreamSplit(EntryId after, EntryId end, boolean whole, Map<String, Long> last) implements SourceSplit {
  @Override
  public String splitId() {
    return "stream";
  }

  static final class Serializer implements SimpleVersionedSerializer<StreamSplit> {
    private static final int VERSION = 1;
    private static final int PRODUCER_BYTES = 16;

    @Override
    public int getVersion() {
      return VERSION;
    }

    @Override
    public byte[] serialize(StreamSplit split) throws IOException {
      DataOutputSerializer out = new DataOutputSerializer(64 + 24 * split.last.size());
      out.writeUTF(split.after.toString());
      out.writeUTF(split.end == null ? "" : split.end.toString());
      out.writeBoolean(split.whole);
      out.writeInt(split.last.size());
      for (Map.Entry<String, Long> each : split.last.entrySet()) {
        out.write(HexFormat.of().parseHex(each.getKey()));
        out.writeLong(each.getValue());
      }
      return out.getCopyOfBuffer();
    }

    @Override
    public StreamSplit deserialize(int version, byte[] bytes) throws IOException {
      if (version != VERSION) {
        throw new IOException("the state of a stream, of unknown version " + version);
      }
      DataInputDeserializer in = new DataInputDeserializer(bytes);
      EntryId after = EntryId.parse(in.readUTF());
      String end = in.readUTF();
      boolean whole = in.readBoolean();
      int producers = in.readInt();
      Map<String, Long> last = new HashMap<>();
      byte[] producer = new byte[PRODUCER_BYTES];
      for (int i = 0; i < producers; i++) {
        in.readFully(producer);
        last.put(HexFormat.of().formatHex(producer), in.readLong());
      }
      return new StreamSplit(after, end.isEmpty() ? null : EntryId.parse(end), whole, last);
    }
  }
}
