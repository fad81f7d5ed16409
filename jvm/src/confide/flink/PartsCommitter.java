package confide.flink;

import confide.CommittingFileSystem;
import confide.ListedFile;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import org.apache.flink.core.fs.RecoverableFsDataOutputStream;
import org.apache.flink.core.fs.RecoverableWriter;
import org.apache.hadoop.fs.Path;

/**
 * Gives a finished file its name: one part as it is, several as one new file.
 *
 * <p>Repeating it after a crash at any point ends the same way. Parts that were joined are deleted last, so as long
 * as they are all there the joining can be done again; a single part is gone only if it has its final name.
 */
final class PartsCommitter implements RecoverableFsDataOutputStream.Committer {
  private final CommittingFileSystem fs;
  private final Parts file;

  PartsCommitter(CommittingFileSystem fs, Parts file) {
    this.fs = fs;
    this.file = file;
  }

  @Override
  public RecoverableWriter.CommitRecoverable getRecoverable() {
    return file;
  }

  @Override
  public void commit() throws IOException {
    Path target = new Path(file.target());
    if (file.parts().size() == 1) {
      rename(path(file.parts().get(0)), target);
      return;
    }
    Path whole = SealedPartStream.beside(file.target());
    try (OutputStream out = fs.create(whole, false)) {
      for (ListedFile part : file.parts()) {
        try (InputStream in = fs.open(path(part))) {
          in.transferTo(out);
        }
      }
    }
    rename(whole, target);
    for (ListedFile part : file.parts()) {
      fs.delete(path(part), false);
    }
  }

  @Override
  public void commitAfterRecovery() throws IOException {
    Path target = new Path(file.target());
    boolean all = true;
    for (ListedFile part : file.parts()) {
      all &= fs.isStored(path(part));
    }
    if (all) {
      for (ListedFile part : file.parts()) {
        fs.adopt(path(part), part);
      }
      commit();
    } else if (file.parts().size() == 1) {
      fs.adopt(target, file.parts().get(0)); // renamed before the crash, and maybe not in the listing yet
      fs.commit(target);
    } else {
      fs.requireCommitted(target); // since parts are gone; any file of the location may lie there
      for (ListedFile part : file.parts()) {
        if (fs.isStored(path(part))) {
          fs.delete(path(part), false);
        }
      }
    }
  }

  private void rename(Path from, Path to) throws IOException {
    if (!fs.rename(from, to)) {
      throw new IOException("cannot rename " + from + " to " + to);
    }
  }

  private static Path path(ListedFile part) {
    return new Path(part.path());
  }
}
