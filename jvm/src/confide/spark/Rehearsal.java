package confide.spark;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarFile;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.local.LocalFs;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * What most programs do in their first seconds, done once while an image is built, to record which classes the
 * JVM loads. It sees no data and no keys.
 */
public final class Rehearsal {
  private static final List<String> OWN = List.of("confide/", "py4j/");

  private Rehearsal() {}

  /**
   * @param args a folder to write in.
   */
  public static void main(String[] args) throws Exception {
    for (String jar : System.getProperty("java.class.path").split(":")) {
      if (jar.contains("/confide.jar") || jar.contains("/py4j-")) {
        load(jar);
      }
    }
    SparkSession spark =
        SparkSession.builder()
            .master("local[2]")
            .appName("rehearsal")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.authenticate", "true")
            .config("spark.network.crypto.enabled", "true")
            .config("spark.hadoop.fs.file.impl", LocalFileSystem.class.getName()) // no agent is there, which the guard asks
            .config("spark.hadoop.fs.AbstractFileSystem.file.impl", LocalFs.class.getName())
            .config("spark.local.dir", Path.of(args[0], "local").toString())
            .config("spark.sql.warehouse.dir", Path.of(args[0], "warehouse").toString())
            .config("spark.sql.parquet.compression.codec", "zstd")
            .config("spark.sql.shuffle.partitions", "2")
            .getOrCreate();
    String table = Path.of(args[0], "table").toString();
    Dataset<Row> rows = spark.range(1000).selectExpr("id", "id % 7 AS k", "cast(id AS string) AS text");
    rows.write().parquet(table);
    spark.read().parquet(table).createOrReplaceTempView("rows");
    spark
        .sql("SELECT a.k, count(*) AS n, max(b.text) AS t FROM rows a JOIN rows b ON a.id = b.id"
            + " WHERE a.text IS NOT NULL GROUP BY a.k ORDER BY n DESC")
        .collectAsList();
    spark.stop();
  }

  private static void load(String jar) throws IOException, ClassNotFoundException {
    try (JarFile file = new JarFile(jar)) {
      for (String name : file.stream().map(entry -> entry.getName()).toList()) {
        if (name.endsWith(".class") && OWN.stream().anyMatch(name::startsWith)) {
          Class.forName(name.replace('/', '.').substring(0, name.length() - 6), false, Rehearsal.class.getClassLoader());
        }
      }
    }
  }
}
