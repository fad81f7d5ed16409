package confide;

/** Rules about paths relative to a location. */
final class Names {
  private Names() {}

  static String parent(String path) {
    int slash = path.lastIndexOf('/');
    return slash < 0 ? "" : path.substring(0, slash);
  }

  static String last(String path) {
    return path.substring(path.lastIndexOf('/') + 1);
  }

  static String join(String folder, String name) {
    if (folder.isEmpty()) {
      return name;
    }
    return name.isEmpty() ? folder : folder + "/" + name;
  }

  /** Names that start with '_' or '.' are an engine's own, never data; below them nothing is data either. */
  static boolean isHidden(String path) {
    for (String part : path.split("/")) {
      if (part.startsWith("_") || part.startsWith(".")) {
        return true;
      }
    }
    return false;
  }

  /** Whether {@code path} is {@code folder} or lies below it; every path lies below "". */
  static boolean isWithin(String path, String folder) {
    return folder.isEmpty() || path.equals(folder) || path.startsWith(folder + "/");
  }
}
