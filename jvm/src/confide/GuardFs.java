package confide;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.FileSystem;

/**
 * The same guard for Hadoop's second interface (FileContext, {@code fs.AbstractFileSystem.<scheme>.impl}),
 * which would otherwise lead past the first.
 */
public final class GuardFs extends DelegateToFileSystem {
  public GuardFs(URI uri, Configuration conf) throws IOException, URISyntaxException {
    super(uri, FileSystem.get(uri, conf), conf, uri.getScheme(), false);
  }
}
