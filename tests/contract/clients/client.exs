# Posts a signed body as the Elixir SDK does: httpc, which reads no variable; one option leads it to the proxy.
{:ok, _} = Application.ensure_all_started(:inets)
{:ok, _} = Application.ensure_all_started(:ssl)

proxy = URI.parse(System.fetch_env!("https_proxy"))
:ok = :httpc.set_options(https_proxy: {{to_charlist(proxy.host), proxy.port}, []})

headers =
  for name <- ["Access-Id", "Access-Time", "Access-Signature"] do
    value = System.fetch_env!(name |> String.upcase() |> String.replace("-", "_"))
    {to_charlist(name), to_charlist(value)}
  end

url = 'https://sandbox.api.starkbank.com/v2/invoice'
trusted = [verify: :verify_peer, cacertfile: to_charlist(System.fetch_env!("SSL_CERT_FILE"))]
request = {url, headers, 'application/json', System.fetch_env!("BODY")}
{:ok, {{_, status, _}, _, content}} = :httpc.request(:post, request, [ssl: trusted], body_format: :binary)
IO.puts(status)
IO.puts(content)
