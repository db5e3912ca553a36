// Does with stripe-node, unmodified, what its users do, and prints what came of
// it as one JSON object, for TestStripeNode to judge.
//
// Arguments: the folder that has node_modules, the server's URL, a key.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { once } from 'node:events';

const [folder, url, key] = process.argv.slice(2);
const Stripe = createRequire(folder + '/package.json')('stripe');
const { protocol, hostname, port } = new URL(url);
const connect = (key) => new Stripe(key, { host: hostname, port, protocol: protocol.slice(0, -1), telemetry: false });
const stripe = connect(key);
const { eventDestinations, events: thinEvents } = stripe.v2.core;
const saw = {};

// An endpoint: what arrives waits by path, in the order it came.
const inbox = new Map();
const box = (path) => {
  if (!inbox.has(path)) {
    inbox.set(path, { waiting: [], asking: [] });
  }
  return inbox.get(path);
};
const arrived = (path) => new Promise((resolve) => {
  const { waiting, asking } = box(path);
  waiting.length ? resolve(waiting.shift()) : asking.push(resolve);
});
const endpoint = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) {
    parts.push(part);
  }
  response.end();
  const delivery = { body: Buffer.concat(parts), signature: request.headers['stripe-signature'] };
  const { waiting, asking } = box(request.url);
  asking.length ? asking.shift()(delivery) : waiting.push(delivery);
});
endpoint.listen(0, '127.0.0.1');
await once(endpoint, 'listening');
const hook = `http://127.0.0.1:${endpoint.address().port}`;

const all = async (list) => {
  const ids = [];
  for await (const item of list) {
    ids.push(item.id);
  }
  return ids;
};
const refused = async (promise) => {
  try {
    return { succeeded: await promise };
  } catch (e) {
    return { class: e.type, status: e.statusCode, code: e.code, param: e.param, named: /^req_/.test(e.requestId) };
  }
};
const publish = (event) => stripe.rawRequest('POST', '/v2/core/events', event);
const destination = (name, path, more) => eventDestinations.create({
  name, type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.customer.updated'],
  webhook_endpoint: { url: hook + path }, include: ['webhook_endpoint.signing_secret', 'webhook_endpoint.url'], ...more,
});

// Event destinations.
const made = await destination('first', '/thin', { metadata: { keep: '1', drop: '2' }, description: 'a text' });
const secret = made.webhook_endpoint.signing_secret;
saw.created = made;
saw.retrieved = await eventDestinations.retrieve(made.id, { include: ['webhook_endpoint.url'] });
saw.updated = await eventDestinations.update(made.id, { name: 'renamed', description: '', metadata: { drop: null, new: '3' } });
saw.disabled = await eventDestinations.disable(made.id);
saw.enabled = await eventDestinations.enable(made.id);
const more = [];
for (let i = 0; i < 4; i++) {
  more.unshift((await destination(`more ${i}`, '/more')).id);
}
saw.destinations = { made: [...more, made.id], listed: await all(eventDestinations.list({ limit: 2 })) };
saw.deleted = [];
for (const id of more) {
  saw.deleted.push(await eventDestinations.del(id));
}
saw.left = await all(eventDestinations.list());

// A ping, as it arrives and as it can be fetched.
const ping = await eventDestinations.ping(made.id);
let got = await arrived('/thin');
let notification = stripe.parseEventNotification(got.body, got.signature, secret);
saw.ping = {
  returned: ping, notified: notification, fetched: (await notification.fetchEvent()).id,
  related: (await notification.fetchRelatedObject()).id,
};

// Webhook endpoints, which are event destinations too.
const we = await stripe.webhookEndpoints.create({
  url: hook + '/snapshot', enabled_events: ['customer.created', 'invoice.paid'], api_version: '2026-03-25.dahlia',
  description: 'v1', metadata: { a: '1', b: '2' },
});
saw.endpoint = {
  created: we,
  retrieved: await stripe.webhookEndpoints.retrieve(we.id),
  merged: await stripe.webhookEndpoints.update(we.id, { metadata: { a: '', c: '3' }, description: 'changed' }),
  cleared: await stripe.webhookEndpoints.update(we.id, { metadata: '' }),
  disabled: await stripe.webhookEndpoints.update(we.id, { disabled: true }),
  enabled: await stripe.webhookEndpoints.update(we.id, { disabled: false, enabled_events: ['*'] }),
  destination: await eventDestinations.retrieve(we.id.replace('we_', 'ed_'), { include: ['webhook_endpoint.url'] }),
};
const others = [];
for (let i = 0; i < 2; i++) {
  others.unshift((await stripe.webhookEndpoints.create({ url: `${hook}/other`, enabled_events: ['charge.failed'], connect: true })).id);
}
saw.endpoint.made = [...others, we.id];
saw.endpoint.listed = await all(stripe.webhookEndpoints.list({ limit: 1 }));
saw.endpoint.before = (await stripe.webhookEndpoints.list({ ending_before: we.id })).data.map((e) => e.id);
saw.endpoint.deleted = await stripe.webhookEndpoints.del(others[0]);
await stripe.webhookEndpoints.del(others[1]);

// A snapshot, delivered, read and sent again.
const customer = { id: 'cus_1', object: 'customer', email: 'jenny@example.com' };
const snapshot = await publish({ type: 'customer.created', data: { object: customer } });
got = await arrived('/snapshot');
saw.snapshot = {
  published: snapshot.id,
  constructed: stripe.webhooks.constructEvent(got.body, got.signature, we.secret),
  forged: await refused((async () => stripe.webhooks.constructEvent(got.body, got.signature, secret))()),
  resent: [],
};
for (const id of [we.id, we.id.replace('we_', 'ed_')]) {
  await stripe.rawRequest('POST', `/v1/events/${snapshot.id}/retry`, { webhook_endpoint: id });
  got = await arrived('/snapshot');
  saw.snapshot.resent.push(stripe.webhooks.constructEvent(got.body, got.signature, we.secret).id);
}
const paid = await publish({ type: 'invoice.paid', data: { object: { id: 'in_1', object: 'invoice' } } });
await arrived('/snapshot');
const now = Math.floor(Date.now() / 1000);
saw.snapshots = {
  retrieved: (await stripe.events.retrieve(snapshot.id)).data.object,
  newest: [paid.id, snapshot.id],
  all: await all(stripe.events.list({ limit: 1 })),
  wildcard: await all(stripe.events.list({ type: 'customer.*' })),
  types: await all(stripe.events.list({ types: ['invoice.paid', 'charge.failed'] })),
  since: await all(stripe.events.list({ created: { gte: now - 3600, lte: now + 60 } })),
  exactly: await all(stripe.events.list({ created: snapshot.created, type: 'customer.created' })),
  later: await all(stripe.events.list({ created: { gt: now + 3600 } })),
  after: await all(stripe.events.list({ starting_after: paid.id })),
};

// A thin event, delivered, and what it is about.
const thin = await publish({
  type: 'v1.customer.updated', related_object: { id: 'cus_1', type: 'customer', url: '/v1/customers/cus_1' }, data: { some: 'data' },
});
got = await arrived('/thin');
notification = stripe.parseEventNotification(got.body, got.signature, secret);
saw.thin = {
  published: thin.id,
  notified: notification.id,
  fetched: await notification.fetchEvent(),
  related: await notification.fetchRelatedObject(),
  retrieved: (await thinEvents.retrieve(thin.id)).id,
  ofType: await all(thinEvents.list({ types: ['v1.customer.updated'], limit: 1 })),
  ofObject: await all(thinEvents.list({ object_id: 'cus_1', types: ['v1.customer.updated', 'v1.customer.deleted'] })),
  later: await all(thinEvents.list({ created: { gt: new Date(Date.now() + 3600e3).toISOString() } })),
};

// What goes wrong.
const stranger = connect('sk_test_0000000000000000000000000');
const once2 = { idempotencyKey: 'once, in v2' }, once1 = { idempotencyKey: 'once, in v1' };
const minimal = (name) => ({
  name, type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.customer.created'], webhook_endpoint: { url: hook },
});
const first2 = await eventDestinations.create(minimal('a'), once2);
const first1 = await stripe.webhookEndpoints.create({ url: hook, enabled_events: ['charge.failed'] }, once1);
saw.idempotency = {
  repeated2: (await eventDestinations.create(minimal('a'), once2)).id === first2.id,
  repeated1: (await stripe.webhookEndpoints.create({ url: hook, enabled_events: ['charge.failed'] }, once1)).id === first1.id,
};
saw.errors = {
  idempotency2: await refused(eventDestinations.create(minimal('b'), once2)),
  idempotency1: await refused(stripe.webhookEndpoints.create({ url: hook, enabled_events: ['charge.captured'] }, once1)),
  stranger2: await refused(stranger.v2.core.eventDestinations.list()),
  stranger1: await refused(stranger.events.list()),
  missing2: await refused(eventDestinations.retrieve('ed_test_none')),
  missing1: await refused(stripe.webhookEndpoints.retrieve('we_none')),
  event2: await refused(thinEvents.retrieve('evt_test_none')),
  event1: await refused(stripe.events.retrieve(thin.id)),
  invalid2: await refused(eventDestinations.create(minimal(''))),
  invalid1: await refused(stripe.webhookEndpoints.create({ url: 'no url', enabled_events: ['*'] })),
  both: await refused(stripe.events.list({ type: 'a', types: ['b'] })),
  thinEndpoint: await refused(stripe.webhookEndpoints.update(made.id.replace('ed_', 'we_'), { url: hook })),
};

endpoint.close();
endpoint.closeAllConnections();
console.log(JSON.stringify(saw));
