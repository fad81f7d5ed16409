package confide;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.IntFunction;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileRange;

/** What Parquet's reader gets: several ranges at once too, as Hadoop has it from 3.3.5 on. */
final class ParquetInputStream extends TailInputStream {
  ParquetInputStream(FSDataInputStream in, long size, byte[] tail) {
    super(in, size, tail);
  }

  @Override
  public void readVectored(List<? extends FileRange> ranges, IntFunction<ByteBuffer> allocate)
      throws IOException {
    if (ranges.stream().allMatch(range -> range.getOffset() + range.getLength() <= tailStart)) {
      in.readVectored(ranges, allocate);
    } else {
      super.readVectored(ranges, allocate);
    }
  }
}
