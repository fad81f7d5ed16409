package confide;

import org.apache.hadoop.fs.FSDataInputStream;

/** What Parquet's reader gets. */
final class ParquetInputStream extends TailInputStream {
  ParquetInputStream(FSDataInputStream in, long size, byte[] tail) {
    super(in, size, tail);
  }
}
