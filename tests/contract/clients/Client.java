// Posts a signed body with Java's own HTTP client, which, as OkHttp in the SDK, reads https.proxyHost and
// javax.net.ssl.trustStore.
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("https://sandbox.api.starkbank.com/v2/invoice"))
            .POST(HttpRequest.BodyPublishers.ofString(System.getenv("BODY")));
        for (String name : new String[] {"Access-Id", "Access-Time", "Access-Signature"}) {
            request.header(name, System.getenv(name.toUpperCase().replace("-", "_")));
        }
        HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).build();
        HttpResponse<String> response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(response.statusCode());
        System.out.println(response.body());
    }
}
