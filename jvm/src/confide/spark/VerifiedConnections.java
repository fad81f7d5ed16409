package confide.spark;

import confide.ConfideException;
import confide.LaunchRefused;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverPropertyInfo;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import org.apache.spark.sql.execution.datasources.jdbc.JDBCOptions;
import org.apache.spark.sql.jdbc.JdbcConnectionProvider;

/**
 * Spark's way to databases: to PostgreSQL, over TLS that verifies certificate and name of the server, and to nothing else.
 *
 * <p>PostgreSQL's driver takes anybody for the server unless told otherwise. This keeps programs from telling a database's
 * content and its password to strangers by mistake; what counts is what the driver makes of URL and options together.
 */
public final class VerifiedConnections extends JdbcConnectionProvider {
  private static final String DRIVER = "org.postgresql.Driver";

  /**
   * Values of the driver's properties with which it verifies; an empty one is not set. The authority is a file of the
   * image, or else who has the storage, or writes an URL, would choose it.
   */
  private static final Map<String, String> VERIFYING =
      Map.of(
          "sslmode", "verify-full",
          "sslfactory", "|org\\.postgresql\\.ssl\\.(jdbc4\\.)?LibPQFactory",
          "sslrootcert", "/app/(?!.*\\.\\.).+",
          "sslhostnameverifier", "",
          "socketFactory", "",
          "gssEncMode", "|allow|disable");

  @Override
  public String name() {
    return "confide";
  }

  @Override
  public boolean canHandle(Driver driver, scala.collection.immutable.Map<String, String> options) {
    return true;
  }

  @Override
  public boolean modifiesSecurityContext(Driver driver, scala.collection.immutable.Map<String, String> options) {
    return false;
  }

  @Override
  public Connection getConnection(Driver driver, scala.collection.immutable.Map<String, String> options) {
    JDBCOptions given = new JDBCOptions(options);
    Properties properties = given.asConnectionProperties();
    try {
      requireVerifying(driver, given.url(), properties);
      return driver.connect(given.url(), properties);
    } catch (SQLException e) {
      throw ConfideException.sneak(e);
    }
  }

  private static void requireVerifying(Driver driver, String url, Properties properties) throws SQLException {
    if (!driver.getClass().getName().equals(DRIVER) || !driver.acceptsURL(url)) {
      throw new LaunchRefused("jdbc: only PostgreSQL is spoken to, by " + DRIVER + ": of others nobody knows whether they "
          + "verify the server; this is " + driver.getClass().getName());
    }
    Map<String, String> effective = new HashMap<>();
    for (DriverPropertyInfo property : driver.getPropertyInfo(url, properties)) {
      effective.put(property.name, property.value == null ? "" : property.value);
    }
    VERIFYING.forEach(
        (name, accepted) -> {
          String value = effective.getOrDefault(name, "");
          if (!value.matches(accepted) && !value.toLowerCase(Locale.ROOT).matches(accepted)) {
            throw new LaunchRefused(name + "=" + value + " of the database would weaken the protection: its server would not be "
                + "verified; give sslmode=verify-full, and its authority as a file of the program: sslrootcert=/app/...");
          }
        });
  }
}
