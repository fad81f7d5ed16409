package confide.spark;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.TreeMap;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import scala.collection.JavaConverters;

/**
 * Spark's parser, asked only in a session with the hardened settings: the text is changed by settings (variables) before
 * there is a plan to look at.
 */
final class CheckedParser {
  private CheckedParser() {}

  static ParserInterface of(SparkSession session, ParserInterface parser) {
    InvocationHandler handler =
        (proxy, method, arguments) -> {
          Hardening.checkSession(new TreeMap<>(JavaConverters.mapAsJavaMap(session.conf().getAll())));
          try {
            return method.invoke(parser, arguments);
          } catch (InvocationTargetException e) {
            throw e.getCause();
          }
        };
    return (ParserInterface)
        Proxy.newProxyInstance(
            CheckedParser.class.getClassLoader(), new Class<?>[] {ParserInterface.class}, handler);
  }
}
