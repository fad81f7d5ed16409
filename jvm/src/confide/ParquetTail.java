package confide;

import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.Path;

/**
 * The tail of an encrypted Parquet file: crypto metadata, encrypted footer, 4-byte length, {@code PARE}.
 *
 * <p>All else in the file is authenticated with the keys and the random file id that the tail holds, so the
 * tail's SHA-256 stands for the file.
 */
final class ParquetTail {
  static final byte[] ENCRYPTED = "PARE".getBytes(StandardCharsets.US_ASCII);
  static final byte[] PLAIN = "PAR1".getBytes(StandardCharsets.US_ASCII);
  /** Longest tail that is read. */
  static final int MAX_BYTES = 256 * 1024 * 1024;
  /** Longest tail that is written: ample for 5,000 columns in ten row groups. */
  static final int MAX_WRITTEN_BYTES = 64 * 1024 * 1024;

  private ParquetTail() {}

  /** Returns the tail if it is the one that {@code binding} names. */
  static byte[] read(FSDataInputStream in, long size, String binding, Path file) throws IOException {
    if (size < 12) {
      throw new ConfideException("FileChanged", "too short for a Parquet file: " + file);
    }
    try {
      byte[] end = new byte[8];
      in.readFully(size - 8, end);
      long length = length(end, size, file);
      byte[] tail = new byte[(int) length];
      in.readFully(size - length, tail);
      if (!Digests.same(Digests.hex(tail), binding)) {
        throw new ConfideException("FileChanged", "another file than the one written: " + file);
      }
      return tail;
    } catch (EOFException e) {
      throw new ConfideException("FileChanged", "cut off: " + file);
    }
  }

  /** Length of the tail, from the last eight bytes of the file. */
  static long length(byte[] end, long size, Path file) throws ConfideException {
    byte[] magic = Arrays.copyOfRange(end, end.length - 4, end.length);
    if (Arrays.equals(magic, PLAIN)) {
      throw new ConfideException("NotEncrypted", "a plain Parquet file in an encrypted table: " + file);
    }
    long footer = 0;
    for (int i = 0; i < 4; i++) {
      footer |= (end[end.length - 8 + i] & 0xFFL) << (8 * i);
    }
    if (!Arrays.equals(magic, ENCRYPTED) || footer + 8 > size || footer + 8 > MAX_BYTES) {
      throw new ConfideException("FileChanged", "not an encrypted Parquet file: " + file);
    }
    return footer + 8;
  }
}
