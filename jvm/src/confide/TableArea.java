package confide;

import java.io.IOException;
import java.util.Optional;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.util.HadoopInputFile;

/** An encrypted table: Parquet files with an encrypted footer, and nothing else. */
final class TableArea extends GrantedArea {
  private static final StackWalker CALLERS = StackWalker.getInstance(StackWalker.Option.RETAIN_CLASS_REFERENCE);

  TableArea(FileSystem raw, Guard guard, Grant grant, Path path, String relative) {
    super(raw, guard, grant, path, relative);
  }

  /** Refuses whoever is not Parquet's reader: read as text or bytes, ciphertext would be taken for data. */
  @Override
  FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    if (isOpenedByParquet()) {
      return openParquet(file, bufferBytes);
    }
    throw new ConfideException("NoGrant", grant.location
        + " is a table: read it with spark.read.parquet (for CSV and others, encrypt with --as files)");
  }

  /** Spark 3.5's Parquet opens files as everybody does: it is known by its class, the first on the stack behind Hadoop's. */
  private static boolean isOpenedByParquet() {
    return CALLERS.walk(frames -> frames
        .map(StackWalker.StackFrame::getDeclaringClass)
        .dropWhile(caller -> Area.class.isAssignableFrom(caller) || FileSystem.class.isAssignableFrom(caller))
        .findFirst()
        .equals(Optional.of(HadoopInputFile.class)));
  }

  FSDataInputStream openParquet(Path file, int bufferBytes) throws IOException {
    String name = relative(file);
    requireVisible(name, file);
    ListedFile expected = expected(name);
    if (expected == null) {
      requireListed(file);
      throw new ConfideException("FileUnlisted", "not in the listing: " + file);
    }
    FileStatus status = checked(stored(file, expected), expected);
    FSDataInputStream in = raw.open(file, bufferBytes);
    try {
      byte[] tail = ParquetTail.read(in, status.getLen(), expected.binding(), file);
      return new FSDataInputStream(new ParquetInputStream(in, status.getLen(), tail));
    } catch (IOException | RuntimeException e) {
      in.close();
      throw e;
    }
  }

  @Override
  FSDataOutputStream create(Path file, Creator creator) throws IOException {
    String name = relative(file);
    if (!file.getName().endsWith(".parquet")) {
      if (!Names.isHidden(file.getName())) {
        throw new ConfideException("NotEncrypted",
            grant.location + " is granted as a table, which holds encrypted Parquet and not " + file.getName());
      }
      return emptyOnly(creator.create(), file);
    }
    if (!Names.isHidden(name)) {
      throw new ConfideException("NoGrant",
          "only a write that Spark SQL commits as a whole may add files to the table " + grant.location);
    }
    FSDataOutputStream out = creator.create();
    return new FSDataOutputStream(
        new TableOutputStream(out, file, (size, binding) -> guard.written().put(grant, name, size, binding)),
        null);
  }

  @Override
  FileStatus checked(FileStatus stored, ListedFile expected) throws IOException {
    if (stored.isDirectory() || stored.getLen() != expected.size()) {
      throw new ConfideException("FileChanged", stored.getPath() + " has " + stored.getLen()
          + " bytes, and was written with " + expected.size());
    }
    return stored;
  }

  @Override
  FileStatus unlisted(FileStatus stored, String path) throws IOException {
    if (Names.isHidden(path)) {
      return stored;
    }
    throw new ConfideException("FileUnlisted", "not in the listing: " + stored.getPath());
  }
}
