package confide.spark;

import confide.LaunchRefused;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.catalyst.catalog.CatalogStorageFormat;
import org.apache.spark.sql.catalyst.catalog.CatalogTable;
import org.apache.spark.sql.catalyst.expressions.CallMethodViaReflection;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.PlanExpression;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.ScriptTransformation;
import org.apache.spark.sql.catalyst.trees.TreeNode;
import org.apache.spark.sql.execution.command.AddArchivesCommand;
import org.apache.spark.sql.execution.command.AddFilesCommand;
import org.apache.spark.sql.execution.command.AddJarsCommand;
import org.apache.spark.sql.execution.command.CreateFunctionCommand;
import scala.collection.JavaConverters;

/** What the text of a client's SQL may not ask for: to run programs, to load code, to call methods by their names. */
final class ClientPlans {
  private static final Map<Class<?>, String> REFUSED =
      Map.of(
          ScriptTransformation.class, "TRANSFORM ... USING",
          AddJarsCommand.class, "ADD JAR",
          AddFilesCommand.class, "ADD FILE",
          AddArchivesCommand.class, "ADD ARCHIVE",
          CreateFunctionCommand.class, "CREATE FUNCTION ... AS",
          CallMethodViaReflection.class, "reflect, java_method");

  private ClientPlans() {}

  /**
   * Returns if a client may have this plan run: the plan itself, what it is made of, and what its commands hold.
   *
   * @throws LaunchRefused naming what it may not.
   */
  static void check(TreeNode<?> node) {
    check(node, Collections.newSetFromMap(new IdentityHashMap<>()));
  }

  /** Subqueries are reached by several ways: each node is looked at once. */
  private static void check(TreeNode<?> node, Set<Object> seen) {
    if (!seen.add(node)) {
      return;
    }
    String refused = REFUSED.get(node.getClass());
    if (refused != null) {
      throw new LaunchRefused(refused + ": code of clients is not measured, and does not run here");
    }
    JavaConverters.asJavaIterator(node.productIterator()).forEachRemaining(ClientPlans::checkOptions);
    JavaConverters.seqAsJavaList(node.children()).forEach(child -> check((TreeNode<?>) child, seen));
    JavaConverters.seqAsJavaList(node.innerChildren()).forEach(child -> check((TreeNode<?>) child, seen));
    if (node instanceof LogicalPlan plan) {
      for (Expression expression : JavaConverters.seqAsJavaList(plan.expressions())) {
        check(expression, seen);
      }
    } else if (node instanceof PlanExpression<?> subquery) {
      check(subquery.plan(), seen);
    }
  }

  /** The options of a command reach storage when it runs, before there is a relation that has them. */
  private static void checkOptions(Object argument) {
    if (argument instanceof CatalogTable table) {
      checkOptions(table.storage());
    } else if (argument instanceof CatalogStorageFormat storage) {
      checkOptions(storage.properties());
    } else if (argument instanceof scala.collection.immutable.Map<?, ?> options) {
      JavaConverters.mapAsJavaMap(options)
          .forEach(
              (name, value) -> {
                if (name instanceof String option && value instanceof String given) {
                  Hardening.checkPresent(Map.of(option, given));
                }
              });
    }
  }
}
