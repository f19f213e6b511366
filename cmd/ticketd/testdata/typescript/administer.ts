// Administers a ticketd by a client whose types were made from /admin/openapi.yaml. The environment has the URL of the
// console's listener, an API key of scope admin for all brands (ADMIN_KEY), and one of scope console (CONSOLE_KEY).
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from './schema.js';

type Schemas = components['schemas'];

const environment = (name: string): string => {
  const value = process.env[name];
  ok(value, `${name} is not set`);
  return value;
};

const client = (key: string) => {
  const authorize: Middleware = {
    onRequest({ request }) {
      request.headers.set('Authorization', `Bearer ${key}`);
      return request;
    },
  };
  const made = createClient<paths>({ baseUrl: environment('URL') });
  made.use(authorize);
  return made;
};

const admin = client(environment('ADMIN_KEY'));

// A brand, changed by its ETag.
const added = await admin.POST('/admin/brands', {
  body: { name: 'typescript', region: 'GB', oneTime: true, apiAddresses: ['192.0.2.0/24'] },
});
equal(added.response.status, 201);
const brand: Schemas['Brand'] | undefined = added.data;
equal(brand?.oneTime, true);
const path = { brand: 'typescript' };
const etag = added.response.headers.get('ETag');
ok(etag);
equal(etag, `"${brand.revision}"`);
const changed = await admin.PATCH('/admin/brands/{brand}', {
  params: { path, header: { 'If-Match': etag } },
  body: { oneTime: null, maxLifetimeSeconds: 600, apiAddresses: null },
});
equal(changed.data?.oneTime, null);
equal(changed.data?.maxLifetimeSeconds, 600);
deepEqual(changed.data?.apiAddresses, []);
const late = await admin.PATCH('/admin/brands/{brand}', {
  params: { path, header: { 'If-Match': etag } },
  body: { colour: '#112233' },
});
equal(late.response.status, 412);
match(late.error?.description ?? '', /^Precondition failed: /);

// Agents: added once however often the request comes, from a file, and listed part by part.
for (let i = 0; i < 2; i++) {
  const agent = await admin.POST('/admin/brands/{brand}/agents', {
    params: { path, header: { 'Idempotency-Key': 'typescript' } },
    body: { username: 'john.d', email: 'john.d@example.com', groups: ['sales'] },
  });
  equal(agent.response.status, 201);
  equal(agent.data?.active, true);
}
const wrong = await admin.POST('/admin/brands/{brand}/agents', { params: { path }, body: { username: 'x', email: '@' } });
equal(wrong.response.status, 400);
deepEqual(wrong.error?.data?.errors?.map((e) => e.field), ['email']);
const csv = async (file: string, dryRun: boolean) =>
  await admin.POST('/admin/brands/{brand}/agents/import', {
    params: { path, query: { 'dry-run': dryRun } },
    headers: { 'Content-Type': 'text/csv' },
    body: file,
    bodySerializer: (body) => body,
  });
const preview = await csv('username,email\njane,jane@example.com\nmary,@\n', true);
deepEqual(preview.data?.faults.map((f) => [f.line, f.column]), [[3, 'email']]);
deepEqual(preview.data?.lines.map((l) => [l.username, l.action]), [['jane', 'add']]);
const imported = await csv('username,email\njane,jane@example.com\nmary,mary@example.com\n', false);
equal(imported.data?.added, 2);
const names: string[] = [];
for (let after: string | undefined; ; ) {
  const part = await admin.GET('/admin/brands/{brand}/agents', { params: { path, query: { limit: 2, after } } });
  names.push(...(part.data?.items ?? []).map((a) => a.username));
  after = part.data?.next ?? undefined;
  if (after === undefined) break;
}
deepEqual(names, ['jane', 'john.d', 'mary']);
const john = { path: { brand: 'typescript', username: 'john.d' } };
const agent = await admin.PATCH('/admin/brands/{brand}/agents/{username}', { params: john, body: { active: false } });
equal(agent.data?.active, false);
deepEqual(agent.data?.groups, ['sales']);
ok((await admin.POST('/admin/brands/{brand}/agents/{username}/end-sessions', { params: john })).data);
const removed = await admin.DELETE('/admin/brands/{brand}/agents/{username}', { params: john });
equal(removed.data?.removed, 'john.d');
equal((await admin.GET('/admin/brands/{brand}/agents/{username}', { params: john })).response.status, 404);

// Customers and channels.
const customer = await admin.POST('/admin/brands/{brand}/customers', {
  params: { path },
  body: { uniqueId: 'C-1', firstName: 'Jane', phone1: '020 7946 0000' },
});
equal(customer.data?.phone1, '+442079460000');
for (const query of [{ q: 'jan' }, { uniqueId: 'C-1' }, { phone1: '020 7946 0000' }]) {
  const found = await admin.GET('/admin/brands/{brand}/customers', { params: { path, query } });
  deepEqual(found.data?.items.map((c) => c.id), [customer.data.id]);
}
const channel = await admin.POST('/admin/brands/{brand}/channels', { params: { path }, body: { id: 'web', confirm: true } });
match(channel.data?.url ?? '', /\/chat\/[\w-]+$/);

// API keys: shown once, replaced, revoked.
const key = await admin.POST('/admin/api-keys', { body: { brands: ['typescript'], scopes: ['issue'], note: 'CRM' } });
match(key.data?.key ?? '', /^adm_/);
ok(key.data);
const next = await admin.POST('/admin/api-keys/{id}/replace', { params: { path: { id: key.data.id } }, body: { grace: 60 } });
ok(next.data);
equal(next.data.note, 'CRM');
const revoked = await admin.POST('/admin/api-keys/{id}/revoke', { params: { path: { id: next.data.id } } });
ok(revoked.data?.revoked);
const keys = await admin.GET('/admin/api-keys', { params: { query: { brand: 'typescript' } } });
const ids = keys.data?.items.map((k) => k.id) ?? []; // also those for all brands
ok(ids.includes(key.data.id) && ids.includes(next.data.id));

// Tickets, the audit trail and the service.
const id = '0123456789abcdef0123456789abcdef';
const ticket = await admin.POST('/admin/brands/{brand}/revocations', { params: { path }, body: { ticketId: id } });
equal(ticket.data?.revoked, id);
const events = await admin.GET('/admin/events', { params: { query: { brand: 'typescript', ticketId: id } } });
const event: Schemas['Event'] | undefined = events.data?.items[0];
deepEqual([event?.action, event?.actor.kind], ['ticket.revoke', 'key']);
ok(event);
const newer = await admin.GET('/admin/events/new', { params: { query: { brand: 'typescript', last: event.id } } });
deepEqual([newer.data?.items, newer.data?.last], [[], event.id]);
const health = await admin.GET('/admin/health');
ok(health.data?.items.every((part) => part.ok));
const keyrings = await admin.GET('/admin/keyrings');
deepEqual(keyrings.data?.items.map((k) => k.kind).sort(), ['channel', 'session', 'ticket']);
const settings = await admin.GET('/admin/settings');
ok(settings.data?.items.some((s) => s.name === 'public-url'));
const link = await client(environment('CONSOLE_KEY')).POST('/admin/links', { body: { username: 'root' } });
match(link.data?.url ?? '', /\/console\/enter\?ta=tkt1_/);

// A brand with records stays, unless all is to go.
const full = await admin.DELETE('/admin/brands/{brand}', { params: { path } });
equal(full.response.status, 409);
equal(full.error?.data?.agents, 2);
equal((await admin.DELETE('/admin/brands/{brand}', { params: { path, query: { 'with-all': true } } })).data?.removed, path.brand);

// What the types refuse.
// @ts-expect-error A member of another type.
equal((await admin.PATCH('/admin/brands/{brand}', { params: { path }, body: { oneTime: 'yes' } })).response.status, 400);
// @ts-expect-error A brand without a name.
equal((await admin.POST('/admin/brands', { body: {} })).response.status, 400);
console.log('administered');
