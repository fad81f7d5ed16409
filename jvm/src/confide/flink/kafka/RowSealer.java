package confide.flink.kafka;

import confide.ConfideException;
import confide.RecordSealer;
import confide.flink.Refusals;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.table.data.RowData;

/** Seals the rows of one task as a producer that is new with each start, as a format has no state to count on from. */
final class RowSealer implements SerializationSchema<RowData> {
  private static final long serialVersionUID = 1L;

  final String location;
  private final SerializationSchema<RowData> rows;
  private transient RecordSealer sealer;

  /**
   * @param location of the topic, as the policy grants it for writing
   * @param rows format of a row
   */
  RowSealer(String location, SerializationSchema<RowData> rows) {
    this.location = location;
    this.rows = rows;
  }

  @Override
  public void open(InitializationContext context) throws Exception {
    rows.open(context);
    try {
      sealer = new RecordSealer(location, RecordSealer.newProducer(), 0);
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    }
  }

  @Override
  public byte[] serialize(RowData row) {
    byte[] plain = rows.serialize(row);
    try {
      if (plain == null) {
        throw new ConfideException("Misuse", "a row that has no value in its format is no record of " + location);
      }
      return sealer.seal(plain);
    } catch (ConfideException e) {
      throw Refusals.lasting(e);
    }
  }
}
