package confide.flink;

import confide.ConfideException;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimeUnit;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimestampLogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.apache.parquet.schema.Type;

/** Parquet's values as Flink's, for the pairs of types that hold the same; any other pair is refused beforehand. */
final class Columns {
  private interface Value {
    Object of(Group group, int field);
  }

  private final List<Value> values = new ArrayList<>();

  Columns(MessageType stored, RowType row) throws IOException {
    for (int i = 0; i < row.getFieldCount(); i++) {
      values.add(value(stored.getType(i), row.getTypeAt(i)));
    }
  }

  RowData row(Group group) {
    GenericRowData row = new GenericRowData(values.size());
    for (int i = 0; i < values.size(); i++) {
      row.setField(i, group.getFieldRepetitionCount(i) == 0 ? null : values.get(i).of(group, i));
    }
    return row;
  }

  private static Value value(Type stored, LogicalType wanted) throws IOException {
    Value found = stored.isPrimitive() && !stored.isRepetition(Type.Repetition.REPEATED)
        ? value(stored.asPrimitiveType(), wanted) : null;
    if (found == null) {
      throw new ConfideException("Misuse",
          "the column " + stored.getName() + " is " + stored + " in the table, and cannot be read as " + wanted);
    }
    return found;
  }

  private static Value value(PrimitiveType stored, LogicalType wanted) {
    PrimitiveTypeName type = stored.getPrimitiveTypeName();
    LogicalTypeAnnotation logical = stored.getLogicalTypeAnnotation();
    boolean integer = logical == null
        || logical instanceof LogicalTypeAnnotation.IntLogicalTypeAnnotation number && number.isSigned();
    boolean binary = type == PrimitiveTypeName.BINARY || type == PrimitiveTypeName.FIXED_LEN_BYTE_ARRAY;
    switch (wanted.getTypeRoot()) {
      case BOOLEAN:
        return type == PrimitiveTypeName.BOOLEAN ? (g, i) -> g.getBoolean(i, 0) : null;
      case INTEGER:
        return type == PrimitiveTypeName.INT32 && integer ? (g, i) -> g.getInteger(i, 0) : null;
      case BIGINT:
        if (type == PrimitiveTypeName.INT32 && integer) {
          return (g, i) -> (long) g.getInteger(i, 0);
        }
        return type == PrimitiveTypeName.INT64 && integer ? (g, i) -> g.getLong(i, 0) : null;
      case FLOAT:
        return type == PrimitiveTypeName.FLOAT ? (g, i) -> g.getFloat(i, 0) : null;
      case DOUBLE:
        if (type == PrimitiveTypeName.FLOAT) {
          return (g, i) -> (double) g.getFloat(i, 0);
        }
        return type == PrimitiveTypeName.DOUBLE ? (g, i) -> g.getDouble(i, 0) : null;
      case CHAR:
      case VARCHAR:
        boolean text = logical instanceof LogicalTypeAnnotation.StringLogicalTypeAnnotation;
        return binary && text ? (g, i) -> StringData.fromBytes(g.getBinary(i, 0).getBytes()) : null;
      case BINARY:
      case VARBINARY:
        return binary && logical == null ? (g, i) -> g.getBinary(i, 0).getBytes() : null;
      case DATE:
        boolean date = logical instanceof LogicalTypeAnnotation.DateLogicalTypeAnnotation;
        return date ? (g, i) -> g.getInteger(i, 0) : null;
      case TIMESTAMP_WITHOUT_TIME_ZONE:
      case TIMESTAMP_WITH_LOCAL_TIME_ZONE:
        return logical instanceof TimestampLogicalTypeAnnotation time ? timestamp(time.getUnit()) : null;
      case DECIMAL:
        return logical instanceof LogicalTypeAnnotation.DecimalLogicalTypeAnnotation decimal
            ? decimal(type, decimal, (DecimalType) wanted) : null;
      default:
        return null;
    }
  }

  private static Value timestamp(TimeUnit unit) {
    long perSecond = switch (unit) {
      case MILLIS -> 1_000;
      case MICROS -> 1_000_000;
      case NANOS -> 1_000_000_000;
    };
    long perMilli = perSecond / 1_000;
    int nanos = (int) (1_000_000_000 / perSecond);
    return (g, i) -> {
      long time = g.getLong(i, 0);
      return TimestampData.fromEpochMillis(
          Math.floorDiv(time, perMilli), (int) Math.floorMod(time, perMilli) * nanos);
    };
  }

  private static Value decimal(PrimitiveTypeName type,
      LogicalTypeAnnotation.DecimalLogicalTypeAnnotation stored, DecimalType wanted) {
    int precision = wanted.getPrecision();
    int scale = wanted.getScale();
    if (stored.getScale() != scale || stored.getPrecision() > precision) {
      return null;
    }
    return switch (type) {
      case INT32 -> (g, i) -> DecimalData.fromBigDecimal(
          BigDecimal.valueOf(g.getInteger(i, 0), scale), precision, scale);
      case INT64 -> (g, i) -> DecimalData.fromBigDecimal(
          BigDecimal.valueOf(g.getLong(i, 0), scale), precision, scale);
      default -> (g, i) -> DecimalData.fromBigDecimal(
          new BigDecimal(new BigInteger(g.getBinary(i, 0).getBytes()), scale), precision, scale);
    };
  }
}
