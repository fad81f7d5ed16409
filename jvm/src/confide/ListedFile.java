package confide;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;

/**
 * One file of a listing.
 *
 * @param path relative to the location, '/' between parts
 * @param size bytes of the encrypted file
 * @param binding SHA-256, hex, of what every other byte of the file is authenticated against
 */
public record ListedFile(String path, long size, String binding) implements Serializable {
  /** Order of Unicode code points, which is the order of the UTF-8 bytes (and not of Java's UTF-16). */
  static final Comparator<ListedFile> BY_PATH =
      (a, b) -> Arrays.compareUnsigned(
          a.path.getBytes(StandardCharsets.UTF_8), b.path.getBytes(StandardCharsets.UTF_8));
}
