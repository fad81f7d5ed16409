package confide.spark;

import confide.ConfideException;
import confide.GuardFileSystem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.catalyst.catalog.CatalogTable;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.command.CreateDataSourceTableAsSelectCommand;
import org.apache.spark.sql.execution.command.CreateDataSourceTableCommand;
import org.apache.spark.sql.execution.command.SetCommand;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import org.apache.spark.sql.execution.datasources.v2.DataSourceV2Relation;
import scala.Function1;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;
import scala.runtime.AbstractFunction2;
import scala.runtime.BoxedUnit;

/**
 * The same comparison for what {@code spark.conf.set} changes after the start: made at the analysis of each
 * query, so that nothing is read or written under a weakened session.
 */
public final class SessionHardening extends AbstractFunction1<SparkSessionExtensions, BoxedUnit> {
  @Override
  public BoxedUnit apply(SparkSessionExtensions extensions) {
    extensions.injectCheckRule(
        new AbstractFunction1<SparkSession, Function1<LogicalPlan, BoxedUnit>>() {
          @Override
          public Function1<LogicalPlan, BoxedUnit> apply(SparkSession session) {
            return new AbstractFunction1<LogicalPlan, BoxedUnit>() {
              @Override
              public BoxedUnit apply(LogicalPlan plan) {
                Hardening.checkSession(new TreeMap<>(JavaConverters.mapAsJavaMap(session.conf().getAll())));
                JavaConverters.seqAsJavaList(plan.collectLeaves()).forEach(leaf -> {
                  checkSet(leaf);
                  checkRead(leaf);
                  checkTable(leaf, session);
                });
                if (Hardening.isServer()) {
                  ClientPlans.check(plan);
                }
                return BoxedUnit.UNIT;
              }
            };
          }
        });
    if (Hardening.isServer()) {
      extensions.injectParser(
          new AbstractFunction2<>() {
            @Override
            public ParserInterface apply(SparkSession session, ParserInterface parser) {
              return CheckedParser.of(session, parser);
            }
          });
    }
    return BoxedUnit.UNIT;
  }

  /** A SET is refused itself, and not only the next query. */
  private static void checkSet(LogicalPlan leaf) {
    if (leaf instanceof SetCommand set && set.kv().isDefined() && set.kv().get()._2().isDefined()) {
      Hardening.checkPresent(Map.of(set.kv().get()._1(), set.kv().get()._2().get()));
    }
  }

  /** The options of one read go before the session's settings. */
  private static void checkRead(LogicalPlan leaf) {
    Map<String, String> options = Map.of();
    if (leaf instanceof LogicalRelation read && read.relation() instanceof HadoopFsRelation files) {
      options = JavaConverters.mapAsJavaMap(files.options());
    } else if (leaf instanceof DataSourceV2Relation read) {
      options = read.options();
    }
    if (Hardening.isServer()) {
      Hardening.checkPresent(options);
    }
    options.forEach(
        (name, value) -> {
          if (name.matches("(?i)ignore(Corrupt|Missing)Files")) {
            Hardening.checkPresent(Map.of("spark.sql.files." + canonical(name), value));
          }
        });
  }

  /** A table without a path of its own lies in the warehouse, which is scratch unless the program moved it. */
  private static void checkTable(LogicalPlan leaf, SparkSession session) {
    CatalogTable table;
    if (leaf instanceof CreateDataSourceTableAsSelectCommand create) {
      table = create.table();
    } else if (leaf instanceof CreateDataSourceTableCommand create) {
      table = create.table();
    } else {
      return;
    }
    if (!table.tableType().name().equals("MANAGED")) {
      return;
    }
    URI place = table.storage().locationUri().isDefined()
        ? table.storage().locationUri().get()
        : session.sessionState().catalog().defaultTablePath(table.identifier());
    try {
      if (!GuardFileSystem.isGranted(new Path(place), session.sessionState().newHadoopConf())) {
        throw new ConfideException("NoGrant", "the table " + table.identifier().table()
            + " would lie in scratch, which is gone after the run; write to a granted location");
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String canonical(String option) {
    return option.equalsIgnoreCase("ignoreCorruptFiles") ? "ignoreCorruptFiles" : "ignoreMissingFiles";
  }
}
