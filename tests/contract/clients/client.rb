# Posts a signed body as the Ruby SDK does: Net::HTTP, which reads https_proxy; OpenSSL reads SSL_CERT_FILE.
require('net/http')

uri = URI('https://sandbox.api.starkbank.com/v2/invoice')
request = Net::HTTP::Post.new(uri)
%w[Access-Id Access-Time Access-Signature].each { |name| request[name] = ENV[name.upcase.tr('-', '_')] }
request.body = ENV['BODY']
response = Net::HTTP.start(uri.hostname, use_ssl: true) { |http| http.request(request) }
puts response.code, response.body
