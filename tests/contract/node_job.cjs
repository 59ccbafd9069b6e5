// The whole job with Stark Bank's own Node SDK: webhook, invoices, signed events, transfers, logs.
// Prints one line of JSON about what it saw. Run by test_node_sdk.py, pointed at an emulator by its environment.
const http = require("node:http");
const starkbank = require("starkbank");

const INVOICES = 3;
const PATIENCE_MS = 90000;

starkbank.user = new starkbank.Project({
  environment: "sandbox",
  id: process.env.SANDBOX_ID,
  privateKey: process.env.SANDBOX_PRIVATE_KEY,
});

const seen = { events: [], forged: null, transferEvents: [] };
const credits = new Map();
let wake = () => {};

async function receive(content, signature) {
  const event = await starkbank.event.parse({ content, signature });
  seen.events.push([event.subscription, event.log.type]);
  if (event.subscription === "invoice" && event.log.type === "credited") {
    credits.set(event.log.invoice.id, event.log.invoice.amount - event.log.invoice.fee);
    if (seen.forged === null) {
      // The same signature under other bytes must not pass.
      const changed = content.replace('"amount": ', '"amount": 9');
      seen.forged = await starkbank.event.parse({ content: changed, signature }).then(
        () => "accepted", (error) => error.constructor.name);
    }
  }
  if (event.subscription === "transfer") seen.transferEvents.push([event.log.transfer.id, event.log.type]);
  wake();
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    receive(Buffer.concat(chunks).toString(), request.headers["digital-signature"]).then(
      () => response.writeHead(200).end(),
      (error) => { console.error(error); response.writeHead(500).end(); });
  });
});

async function until(isTrue, meaning) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${meaning}`);
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 1000); });
  }
}

async function collect(generator) {
  const found = [];
  for await (const each of generator) found.push(each);
  return found;
}

async function main() {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const webhook = await starkbank.webhook.create({
    url: `http://127.0.0.1:${server.address().port}/events`, subscriptions: ["invoice", "transfer"] });
  const invoices = await starkbank.invoice.create(Array.from({ length: INVOICES }, (_, number) => ({
    amount: 1000 + number, name: "João Araújo", taxId: "012.345.678-90", tags: ["Node-Job"],
    descriptions: [{ key: "Número", value: String(number) }] })));
  const ids = invoices.map((invoice) => invoice.id);
  await until(() => ids.every((id) => credits.has(id)), "all invoices are credited");

  const transfers = await starkbank.transfer.create(ids.map((id) => ({
    amount: credits.get(id), name: "Stark Bank S.A.", taxId: "20.018.183/0001-80", bankCode: "20018183",
    branchCode: "0001", accountNumber: "6341320293482496", accountType: "payment",
    externalId: `credit-${id}`, tags: [`credit-${id}`] })));
  await until(() => transfers.every(({ id }) => seen.transferEvents.some(
    ([transfer, type]) => transfer === id && type === "success")), "all transfers have succeeded");

  const listed = await collect(await starkbank.invoice.query({ tags: ["node-job"] }));
  const logs = await collect(await starkbank.transfer.log.query({ transferIds: [transfers[0].id] }));
  const [page, cursor] = await starkbank.invoice.page({ limit: 2 });
  const refusal = await starkbank.invoice.get("1").then(() => null, (error) => error.errors.map((e) => e.code));
  const undelivered = await collect(await starkbank.event.query({ isDelivered: false, limit: 3 }));
  console.log(JSON.stringify({
    ids, listed: listed.map(({ id }) => id), names: listed.map(({ name }) => name),
    logTypes: logs.map(({ type }) => type), pageLength: page.length, hasCursor: typeof cursor === "string",
    statuses: (await collect(await starkbank.transfer.query({ ids: transfers.map(({ id }) => id) }))).map(
      ({ status, amount }) => [status, amount]),
    qrcode: (await starkbank.invoice.qrcode(ids[0])).subarray(1, 4).toString(),
    pdf: (await starkbank.transfer.pdf(transfers[0].id)).subarray(0, 5).toString(),
    endToEnd: (await starkbank.invoice.payment(ids[0])).endToEndId,
    balance: (await starkbank.balance.get()).currency,
    undelivered: undelivered.every(({ isDelivered }) => isDelivered === false) && undelivered.length,
    deleted: (await starkbank.webhook.delete(webhook.id)).id === webhook.id,
    refusal, ...seen }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
