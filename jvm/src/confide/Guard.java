package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.hadoop.fs.Path;

/**
 * What this process may touch, and with which keys: the release, one for the process.
 *
 * <p>It is asked for once, at the first path that an engine opens; a process without an agent opens nothing.
 */
final class Guard {
  private static final List<String> PROGRAM = List.of("/opt/confide", "/app");
  private static Guard instance;

  /** A commit: the number of its listing, and the signed listing, to be kept beside the files. */
  record Commit(long serial, JsonNode jws) {}

  private final AgentClient agent;
  private volatile Keys keys;
  private final Places places;
  private final Map<String, Grant> streams = new HashMap<>();
  private final String root;
  private final Written written = new Written();

  private Guard(AgentClient agent) throws ConfideException {
    this.agent = agent;
    JsonNode reply = agent.release();
    root = Json.text(reply, "root", "the agent's answer");
    keys = new Keys(reply.path("release").path("keys"));
    List<Grant> grants = new ArrayList<>();
    for (JsonNode grant : reply.path("release").path("grants")) {
      Grant granted = new Grant(grant);
      if (granted.isStream) {
        streams.put(granted.location, granted);
      } else {
        grants.add(granted);
      }
    }
    List<String> scratch = List.of(Json.text(reply, "scratch", "the agent's answer"), "/tmp");
    places = new Places(root, scratch, PROGRAM, grants);
  }

  static synchronized Guard get() throws ConfideException {
    if (instance == null) {
      instance = new Guard(AgentClient.fromEnvironment());
      Warmup.start();
    }
    return instance;
  }

  /** The keys; there is no other way to them, so none is used under a weakened configuration. */
  Keys keys() {
    KeyUse.check();
    return keys;
  }

  /**
   * Takes the keys as the broker has them now, for a write that begins: a version made since wraps what it writes. Files
   * begun before keep the keys that they began with.
   */
  synchronized void renewKeys() throws ConfideException {
    keys = new Keys(agent.refresh().path("release").path("keys"));
  }

  /** The same, once for all tasks of a write, where others know of newer versions already. */
  synchronized void renewKeys(Map<String, Integer> versions) throws ConfideException {
    if (keys.isBehind(versions)) {
      renewKeys();
    }
  }

  /** The data root, which relative locations lie under. */
  String root() {
    return root;
  }

  /**
   * Takes over what was committed elsewhere meanwhile, with the keys as they are now, and says whether that could be: an
   * executor learns so of the driver's commits, a server of everybody's. A driver itself goes by what it read and committed.
   */
  synchronized boolean refresh() throws ConfideException {
    if (!KeyUse.committedElsewhere()) {
      return false;
    }
    JsonNode release = agent.refresh().path("release");
    keys = new Keys(release.path("keys"));
    for (JsonNode now : release.path("grants")) {
      Grant grant = places.grantAt(now.path("location").asText());
      if (grant != null && now.path("listing").isObject()) {
        grant.follow(new Listing(now.get("listing")));
      }
    }
    return true;
  }

  /** The same for a location without a listing, if it was asked for longer ago than the engine's rule lets it be. */
  void followFirstCommit(Grant grant) throws ConfideException {
    long now = System.nanoTime();
    if (grant.asked == null || now - grant.asked >= KeyUse.firstCommitsNs()) {
      refresh();
      grant.asked = now;
    }
  }

  /** What this process wrote, so that nothing else is read back in its place. */
  Written written() {
    return written;
  }

  /** The grant of a stream of sealed records, by its location. */
  Grant stream(String location) throws ConfideException {
    Grant grant = streams.get(location);
    if (grant == null) {
      throw new ConfideException("NoGrant", "no grant for the stream " + location + "; granted: "
          + (streams.isEmpty() ? "none" : String.join(", ", new TreeSet<>(streams.keySet()))));
    }
    return grant;
  }

  Place place(Path qualified) throws ConfideException {
    return places.find(qualified);
  }

  /**
   * Makes a new content of a location known to the broker, and from then on to this process.
   *
   * @param removed whether a file of the current listing is no longer part of the location
   */
  Commit commit(Grant grant, List<ListedFile> added, java.util.function.Predicate<String> removed)
      throws ConfideException {
    synchronized (grant) {
      Listing current = grant.listing();
      List<ListedFile> files = new ArrayList<>(added);
      if (current != null) {
        current.files().stream().filter(file -> !removed.test(file.path())).forEach(files::add);
      }
      files.sort(ListedFile.BY_PATH);
      long base = current == null ? 0 : current.serial;
      JsonNode reply = agent.commit(grant.location, grant.tableId(), base, files);
      Listing committed = new Listing(reply.path("listing"));
      grant.committed(committed);
      return new Commit(committed.serial, reply.path("jws"));
    }
  }
}
