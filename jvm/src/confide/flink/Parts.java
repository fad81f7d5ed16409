package confide.flink;

import confide.ListedFile;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.core.fs.RecoverableWriter;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;

/**
 * A file under way: where it will lie, and the sealed parts that it consists of so far, each closed.
 *
 * <p>A sealed file is whole or nothing, so what a checkpoint must keep is sealed as a part of its own.
 *
 * @param target path of the file to be
 * @param parts paths of the parts, with what tells each from any other; size and binding are 0 and "" in scratch
 * @param plainBytes what the parts hold
 */
record Parts(String target, List<ListedFile> parts, long plainBytes)
    implements RecoverableWriter.ResumeRecoverable {

  static final class Serializer<T extends RecoverableWriter.CommitRecoverable>
      implements SimpleVersionedSerializer<T> {
    private static final int MAX_PARTS = 1_000_000;

    @Override
    public int getVersion() {
      return 1;
    }

    @Override
    public byte[] serialize(T value) throws IOException {
      Parts parts = (Parts) value;
      DataOutputSerializer out = new DataOutputSerializer(256);
      out.writeUTF(parts.target);
      out.writeLong(parts.plainBytes);
      out.writeInt(parts.parts.size());
      for (ListedFile part : parts.parts) {
        out.writeUTF(part.path());
        out.writeLong(part.size());
        out.writeUTF(part.binding());
      }
      return out.getCopyOfBuffer();
    }

    @Override
    @SuppressWarnings("unchecked")
    public T deserialize(int version, byte[] bytes) throws IOException {
      if (version != 1) {
        throw new IOException("a file under way, of unknown version " + version);
      }
      DataInputDeserializer in = new DataInputDeserializer(bytes);
      String target = in.readUTF();
      long plainBytes = in.readLong();
      int count = in.readInt();
      if (count < 0 || count > MAX_PARTS) {
        throw new IOException("a file under way, of " + count + " parts");
      }
      List<ListedFile> parts = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        parts.add(new ListedFile(in.readUTF(), in.readLong(), in.readUTF()));
      }
      return (T) new Parts(target, List.copyOf(parts), plainBytes);
    }
  }
}
