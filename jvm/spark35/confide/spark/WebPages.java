package confide.spark;

import org.apache.spark.SparkContext;

/** Spark's web pages: with 3.5 there are none. */
final class WebPages {
  private WebPages() {}

  static void close(SparkContext context) {
    // spark.ui.enabled is false, always.
  }
}
