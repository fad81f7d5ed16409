package confide.flink;

import confide.CommittingFileSystem;
import java.io.IOException;
import java.net.URI;
import java.util.Map;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystemFactory;
import org.apache.flink.core.fs.RecoverableWriter;
import org.apache.flink.runtime.fs.hdfs.HadoopFileSystem;

/**
 * The guard as Flink's file system: sources, sinks, checkpoints and savepoints all go through it.
 *
 * <p>It takes the place of Flink's own for {@code file:}, so paths stay as programs have them.
 */
final class GuardedFileSystem extends HadoopFileSystem {
  private final CommittingFileSystem fs;

  private GuardedFileSystem(CommittingFileSystem fs) {
    super(fs);
    this.fs = fs;
  }

  @Override
  public RecoverableWriter createRecoverableWriter() {
    return new SealedWriter(fs);
  }

  @Override
  public RecoverableWriter createRecoverableWriter(Map<String, String> options) {
    return createRecoverableWriter();
  }

  /** What Flink looks for among services. */
  public static final class Factory implements FileSystemFactory {
    @Override
    public String getScheme() {
      return "file";
    }

    @Override
    public FileSystem create(URI uri) throws IOException {
      return new GuardedFileSystem(CommittingFileSystem.create());
    }

    @Override
    public int getPriority() {
      return Integer.MAX_VALUE;
    }
  }
}
