package confide.spark;

import confide.LaunchRefused;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.sparkproject.connect.protobuf.Descriptors.Descriptor;
import org.sparkproject.connect.protobuf.Descriptors.FieldDescriptor;
import org.sparkproject.connect.protobuf.Message;

/**
 * What clients of Spark Connect may send: queries, but no code, and no setting or option that weakens the protection.
 *
 * <p>The protocol carries code in messages of its own kinds, wherever in a plan they stand. All of a message is looked at.
 */
final class ClientMessages {
  private static final String CODE = "code of clients is not measured, and does not run here";
  private static final String PACKAGE = "spark.connect.";
  private static final Map<String, String> REFUSED =
      Map.of(
          PACKAGE + "ScalarScalaUDF", CODE,
          PACKAGE + "JavaUDF", CODE,
          PACKAGE + "PythonDataSource", CODE,
          PACKAGE + "StreamingForeachFunction", CODE,
          PACKAGE + "StreamingQueryManagerCommand.StreamingQueryListenerCommand", CODE,
          PACKAGE + "ExecuteExternalCommand", CODE,
          PACKAGE + "PipelineCommand", "pipelines are not offered here",
          PACKAGE + "Plan.CompressedOperation", "a compressed plan cannot be looked at",
          "google.protobuf.Any", "extensions of the protocol are not offered here");
  private static final List<String> PYTHON = List.of(PACKAGE + "PythonUDF", PACKAGE + "PythonUDTF");
  private static final List<String> ARTIFACTS =
      List.of(
          PACKAGE + "AddArtifactsRequest.SingleChunkArtifact", PACKAGE + "AddArtifactsRequest.BeginChunkedArtifact");
  private static final String ASKED = PACKAGE + "ConfigRequest.GetWithDefault";
  // Whole names, of one part: Spark takes ".." in others for the way into the folders of classes and jars.
  private static final Pattern DATA = Pattern.compile("cache/[0-9a-f]{64}");
  private static final Pattern MODULES = Pattern.compile("pyfiles/[0-9A-Za-z_-][0-9A-Za-z_.-]*");
  private static final String CLASS_OF_VALUES = PACKAGE + "DataType.UDT";
  private static final Pattern VECTORS = Pattern.compile("(org\\.apache\\.spark\\.(ml|mllib)\\.linalg\\.(Vector|Matrix)UDT)?");

  private final boolean pythonFunctions;

  /**
   * @param pythonFunctions whether the owner lets clients send functions in Python.
   */
  ClientMessages(boolean pythonFunctions) {
    this.pythonFunctions = pythonFunctions;
  }

  /**
   * Returns if all of a message may be taken.
   *
   * @throws LaunchRefused naming what may not.
   */
  void check(Message message) {
    Descriptor kind = message.getDescriptorForType();
    String name = kind.getFullName();
    if (REFUSED.containsKey(name)) {
      throw refusal(kind, REFUSED.get(name));
    }
    if (PYTHON.contains(name) && !pythonFunctions) {
      throw refusal(kind, CODE + "; `python_functions = true` in the server's configuration allows functions in Python");
    }
    if (ARTIFACTS.contains(name)) {
      checkArtifact(text(message, "name"));
    }
    if (name.equals(CLASS_OF_VALUES) && !VECTORS.matcher(text(message, "jvm_class")).matches()) {
      throw refusal(kind, CODE);
    }
    if (name.equals(ASKED)) {
      return; // pairs of names and what is told where nothing is set: nothing of it is taken
    }
    if (kind.getOptions().getMapEntry() || name.equals(PACKAGE + "KeyValue")) {
      checkSetting(message);
    }
    message.getAllFields().forEach(this::checkField);
  }

  private void checkField(FieldDescriptor field, Object value) {
    if (field.getJavaType() != FieldDescriptor.JavaType.MESSAGE) {
      return;
    }
    if (field.isRepeated()) {
      ((List<?>) value).forEach(each -> check((Message) each));
    } else {
      check((Message) value);
    }
  }

  /** Artifacts are data that a plan refers to, or modules for functions; all others are code for the JVM. */
  private void checkArtifact(String name) {
    if (!DATA.matcher(name).matches() && !(pythonFunctions && MODULES.matcher(name).matches())) {
      throw new LaunchRefused("artifact " + name + ": " + CODE);
    }
  }

  /** An option of a read or a write, or a setting: what the hardened settings refuse, under either name. */
  private static void checkSetting(Message entry) {
    FieldDescriptor key = entry.getDescriptorForType().findFieldByName("key");
    FieldDescriptor value = entry.getDescriptorForType().findFieldByName("value");
    if (key.getJavaType() == FieldDescriptor.JavaType.STRING && value.getJavaType() == FieldDescriptor.JavaType.STRING) {
      Hardening.checkPresent(Map.of(text(entry, "key"), text(entry, "value")));
    }
  }

  private static String text(Message message, String field) {
    return (String) message.getField(message.getDescriptorForType().findFieldByName(field));
  }

  private static LaunchRefused refusal(Descriptor kind, String reason) {
    return new LaunchRefused(kind.getName() + ": " + reason);
  }
}
