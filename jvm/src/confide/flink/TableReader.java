package confide.flink;

import confide.CommittingFileSystem;
import confide.ConfideException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.CheckpointedPosition;
import org.apache.flink.connector.file.src.util.IteratorResultIterator;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.HadoopReadOptions;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.Type;

/** Reads the selected columns of a table's files, a file a split; Parquet itself decrypts. */
final class TableReader implements BulkFormat<RowData, FileSourceSplit> {
  private static final long serialVersionUID = 1L;
  private static final int BATCH_ROWS = 1024;

  private final RowType row;
  private final TypeInformation<RowData> produced;

  TableReader(DataType type, TypeInformation<RowData> produced) {
    this.row = (RowType) type.getLogicalType();
    this.produced = produced;
  }

  @Override
  public Reader<RowData> createReader(org.apache.flink.configuration.Configuration config, FileSourceSplit split)
      throws IOException {
    return new Rows(new Path(split.path().toUri()), 0);
  }

  @Override
  public Reader<RowData> restoreReader(org.apache.flink.configuration.Configuration config, FileSourceSplit split)
      throws IOException {
    long done = split.getReaderPosition().map(CheckpointedPosition::getRecordsAfterOffset).orElse(0L);
    return new Rows(new Path(split.path().toUri()), done);
  }

  @Override
  public boolean isSplittable() {
    return false;
  }

  @Override
  public TypeInformation<RowData> getProducedType() {
    return produced;
  }

  private final class Rows implements Reader<RowData> {
    private final Path path;
    private final ParquetReader<Group> groups;
    private final Columns columns;
    private long done;

    Rows(Path path, long skipped) throws IOException {
      this.path = path;
      Configuration conf = CommittingFileSystem.configuration();
      MessageType schema;
      try (ParquetFileReader file = ParquetFileReader.open(
          HadoopInputFile.fromPath(path, conf), HadoopReadOptions.builder(conf, path).build())) {
        schema = selected(file.getFileMetaData().getSchema());
      }
      conf.set(ReadSupport.PARQUET_READ_SCHEMA, schema.toString());
      columns = new Columns(schema, row);
      groups = ParquetReader.builder(new GroupReadSupport(), path).withConf(conf).build();
      for (; done < skipped; done++) {
        groups.read();
      }
    }

    private MessageType selected(MessageType stored) throws IOException {
      List<Type> fields = new ArrayList<>();
      for (String name : row.getFieldNames()) {
        if (!stored.containsField(name)) {
          throw new ConfideException("Misuse", "the table has no column " + name + ": " + path);
        }
        fields.add(stored.getType(name));
      }
      return new MessageType(stored.getName(), fields);
    }

    @Override
    public RecordIterator<RowData> readBatch() throws IOException {
      List<RowData> batch = new ArrayList<>(BATCH_ROWS);
      Group group;
      while (batch.size() < BATCH_ROWS && (group = groups.read()) != null) {
        batch.add(columns.row(group));
      }
      if (batch.isEmpty()) {
        return null;
      }
      long first = done;
      done += batch.size();
      return new IteratorResultIterator<>(batch.iterator(), CheckpointedPosition.NO_OFFSET, first);
    }

    @Override
    public void close() throws IOException {
      groups.close();
    }
  }
}
