package confide.flink.kafka;

import confide.ConfideException;
import confide.RecordOpener;
import confide.flink.Refusals;
import java.io.IOException;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.util.Collector;

/** Opens the records of a topic, each alone; who made a record, and which of his it is, are columns for who asks. */
final class RowOpener implements DeserializationSchema<RowData> {
  static final String PRODUCER = "producer";
  static final String NUMBER = "number";
  private static final long serialVersionUID = 1L;

  final String location;
  private final DeserializationSchema<RowData> rows;
  private final String[] metadata;
  private final int columns;
  private final TypeInformation<RowData> produced;
  private transient RecordOpener opener;

  /**
   * @param location of the topic, as the policy grants it
   * @param rows format of a row
   * @param metadata what follows a row's columns
   * @param columns of a row
   * @param produced type of all of them
   */
  RowOpener(String location, DeserializationSchema<RowData> rows, String[] metadata, int columns,
      TypeInformation<RowData> produced) {
    this.location = location;
    this.rows = rows;
    this.metadata = metadata;
    this.columns = columns;
    this.produced = produced;
  }

  @Override
  public void open(InitializationContext context) throws Exception {
    rows.open(context);
    try {
      opener = new RecordOpener(location);
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    }
  }

  @Override
  public RowData deserialize(byte[] record) {
    throw new UnsupportedOperationException("a record may hold several rows");
  }

  @Override
  public void deserialize(byte[] record, Collector<RowData> out) throws IOException {
    RecordOpener.Opened opened;
    try {
      if (record == null) {
        throw new ConfideException("NotEncrypted", "a record without a value, in " + location);
      }
      opened = opener.openAlone(record);
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    }
    rows.deserialize(opened.row(), metadata.length == 0 ? out : new Collector<>() {
      @Override
      public void collect(RowData row) {
        out.collect(withMetadata((GenericRowData) row, opened));
      }

      @Override
      public void close() {}
    });
  }

  private RowData withMetadata(GenericRowData row, RecordOpener.Opened record) {
    GenericRowData all = new GenericRowData(row.getRowKind(), columns + metadata.length);
    for (int i = 0; i < columns; i++) {
      all.setField(i, row.getField(i));
    }
    for (int i = 0; i < metadata.length; i++) {
      boolean producer = metadata[i].equals(PRODUCER);
      all.setField(columns + i, producer ? StringData.fromString(record.producer()) : (Object) record.number());
    }
    return all;
  }

  @Override
  public boolean isEndOfStream(RowData row) {
    return false;
  }

  @Override
  public TypeInformation<RowData> getProducedType() {
    return produced;
  }
}
