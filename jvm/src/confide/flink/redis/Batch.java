package confide.flink.redis;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;

/**
 * Sealed records between two checkpoints, not in the stream yet: what a checkpoint holds of a sink.
 *
 * @param producer who made them (hex)
 * @param dataKey id of the key that they are sealed under
 * @param first number of the first
 * @param records sealed, one after the other
 */
record Batch(String producer, String dataKey, long first, List<byte[]> records) {
  /** A batch as bytes. */
  static final class Serializer implements SimpleVersionedSerializer<Batch> {
    private static final int VERSION = 1;

    @Override
    public int getVersion() {
      return VERSION;
    }

    @Override
    public byte[] serialize(Batch batch) throws IOException {
      DataOutputSerializer out = new DataOutputSerializer(1024);
      out.writeUTF(batch.producer);
      out.writeUTF(batch.dataKey);
      out.writeLong(batch.first);
      out.writeInt(batch.records.size());
      for (byte[] record : batch.records) {
        out.writeInt(record.length);
        out.write(record);
      }
      return out.getCopyOfBuffer();
    }

    @Override
    public Batch deserialize(int version, byte[] bytes) throws IOException {
      requireVersion(version, VERSION);
      DataInputDeserializer in = new DataInputDeserializer(bytes);
      String producer = in.readUTF();
      String dataKey = in.readUTF();
      long first = in.readLong();
      int count = in.readInt();
      List<byte[]> records = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        byte[] record = new byte[in.readInt()];
        in.readFully(record);
        records.add(record);
      }
      return new Batch(producer, dataKey, first, records);
    }
  }

  /**
   * How far a producer has counted.
   *
   * @param producer its id (hex)
   * @param number of the record that it sealed last
   */
  record Count(String producer, long number) {
    /** A count as bytes. */
    static final class Serializer implements SimpleVersionedSerializer<Count> {
      private static final int VERSION = 1;

      @Override
      public int getVersion() {
        return VERSION;
      }

      @Override
      public byte[] serialize(Count count) throws IOException {
        DataOutputSerializer out = new DataOutputSerializer(32);
        out.write(HexFormat.of().parseHex(count.producer));
        out.writeLong(count.number);
        return out.getCopyOfBuffer();
      }

      @Override
      public Count deserialize(int version, byte[] bytes) throws IOException {
        requireVersion(version, VERSION);
        DataInputDeserializer in = new DataInputDeserializer(bytes);
        byte[] producer = new byte[bytes.length - Long.BYTES];
        in.readFully(producer);
        return new Count(HexFormat.of().formatHex(producer), in.readLong());
      }
    }
  }

  private static void requireVersion(int version, int known) throws IOException {
    if (version != known) {
      throw new IOException("the state of a sink, of unknown version " + version);
    }
  }
}
