import java.util.Map;
import org.apache.hadoop.hive.common.auth.HiveAuthUtils;
import org.apache.hive.service.auth.PlainSaslHelper;
import org.apache.hive.service.rpc.thrift.TCLIService;
import org.apache.hive.service.rpc.thrift.TOpenSessionReq;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.transport.TTransport;

/** Opens a session with one setting, as no driver of JDBC would: PORT TRUST_STORE TOKEN NAME VALUE; prints the answer. */
public class OpenSession {
  public static void main(String[] args) throws Exception {
    TTransport socket =
        HiveAuthUtils.getSSLSocket("127.0.0.1", Integer.parseInt(args[0]), 60_000, args[1], "public");
    TTransport transport = PlainSaslHelper.getPlainTransport("anybody", args[2], socket);
    transport.open();
    TOpenSessionReq request = new TOpenSessionReq();
    request.setConfiguration(Map.of(args[3], args[4]));
    System.out.println(new TCLIService.Client(new TBinaryProtocol(transport)).OpenSession(request).getStatus());
    transport.close();
  }
}
