package confide.flink;

import confide.CommittingFileSystem;
import confide.ListedFile;
import java.io.IOException;
import java.util.List;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.RecoverableFsDataOutputStream;
import org.apache.flink.core.fs.RecoverableWriter;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/** Files that get their names when a checkpoint completes, exactly once: what `FileSink` and savepoints write with. */
final class SealedWriter implements RecoverableWriter {
  private final CommittingFileSystem fs;

  SealedWriter(CommittingFileSystem fs) {
    this.fs = fs;
  }

  @Override
  public RecoverableFsDataOutputStream open(Path path) throws IOException {
    return new SealedPartStream(fs, new Parts(path.toString(), List.of(), 0));
  }

  @Override
  public RecoverableFsDataOutputStream recover(ResumeRecoverable recoverable) throws IOException {
    Parts parts = (Parts) recoverable;
    for (ListedFile part : parts.parts()) {
      fs.adopt(new org.apache.hadoop.fs.Path(part.path()), part);
    }
    return new SealedPartStream(fs, parts);
  }

  @Override
  public RecoverableFsDataOutputStream.Committer recoverForCommit(CommitRecoverable recoverable) {
    return new PartsCommitter(fs, (Parts) recoverable);
  }

  @Override
  public boolean requiresCleanupOfRecoverableState() {
    return false; // later states of the same file go on with the same parts
  }

  @Override
  public boolean cleanupRecoverableState(ResumeRecoverable recoverable) {
    return false;
  }

  @Override
  public SimpleVersionedSerializer<CommitRecoverable> getCommitRecoverableSerializer() {
    return new Parts.Serializer<>();
  }

  @Override
  public SimpleVersionedSerializer<ResumeRecoverable> getResumeRecoverableSerializer() {
    return new Parts.Serializer<>();
  }

  @Override
  public boolean supportsResume() {
    return true;
  }
}
