package confide;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.fs.Path;

/** A password that lies in a sealed file, with nothing else. */
public final class SealedPassword {
  private static final int MAX_BYTES = 4096;

  private SealedPassword() {}

  /** Reads it, without white space around it. */
  public static String read(String file) throws IOException {
    try (InputStream in = CommittingFileSystem.create().open(new Path(file))) {
      return new String(in.readNBytes(MAX_BYTES), StandardCharsets.UTF_8).strip();
    }
  }
}
