package confide.spark;

import confide.LaunchRefused;
import java.util.regex.Pattern;
import org.apache.spark.connect.proto.ConfigResponse;
import org.apache.spark.connect.proto.KeyValue;
import org.sparkproject.connect.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import org.sparkproject.connect.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import org.sparkproject.connect.grpc.Metadata;
import org.sparkproject.connect.grpc.ServerCall;
import org.sparkproject.connect.grpc.ServerCallHandler;
import org.sparkproject.connect.grpc.ServerInterceptor;
import org.sparkproject.connect.grpc.Status;
import org.sparkproject.connect.protobuf.Message;

/** Looks at each message of a client before Spark does, and takes secrets out of what Spark tells of its settings. */
final class ClientInterceptor implements ServerInterceptor {
  private final ClientMessages messages;
  private final Pattern secret;

  /**
   * @param messages that are taken.
   * @param secret names of settings whose values are not told.
   */
  ClientInterceptor(ClientMessages messages, Pattern secret) {
    this.messages = messages;
    this.secret = secret;
  }

  @Override
  public <Q, A> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
    ServerCall<Q, A> redacted =
        new SimpleForwardingServerCall<>(call) {
          @Override
          @SuppressWarnings("unchecked")
          public void sendMessage(A message) {
            super.sendMessage(message instanceof ConfigResponse told ? (A) withoutSecrets(told) : message);
          }
        };
    return new SimpleForwardingServerCallListener<>(next.startCall(redacted, headers)) {
      private boolean refused;

      @Override
      public void onMessage(Q message) {
        if (refused) {
          return;
        }
        try {
          messages.check((Message) message);
        } catch (LaunchRefused e) {
          refused = true;
          call.close(Status.PERMISSION_DENIED.withDescription(e.toString()), new Metadata());
          super.onCancel(); // whoever waits for the rest of the messages waits no more
          return;
        }
        super.onMessage(message);
      }

      @Override
      public void onHalfClose() {
        if (!refused) {
          super.onHalfClose();
        }
      }

      @Override
      public void onCancel() {
        if (!refused) {
          super.onCancel();
        }
      }
    };
  }

  private ConfigResponse withoutSecrets(ConfigResponse told) {
    ConfigResponse.Builder kept = told.toBuilder().clearPairs();
    for (KeyValue pair : told.getPairsList()) {
      kept.addPairs(secret.matcher(pair.getKey()).find() ? pair.toBuilder().clearValue().build() : pair);
    }
    return kept.build();
  }
}
