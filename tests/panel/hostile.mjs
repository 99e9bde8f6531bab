// Text that would be markup, pages that are not ours, and more than fits a screen.
import http from 'node:http';
import { browser, check, ctl, end, go, know, look, open, settle, shot } from './browser.mjs';

const { group } = know;
const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>"\'><svg onload=window.hacked=3>{{7*7}}${7*7}';
const line = EVIL.slice(0, 250);

// ---- in every field that somebody else writes ----
ctl('alice', 'claim', 'publish', '--group', group, '--text', EVIL, '--title', line, '--tags', '<b>tag</b>,javascript:alert(1)');
ctl('alice', 'task', 'create', '--group', group, '--task', 'evil', '--title', line, '--description', EVIL, '--reward', '1');
ctl('alice', 'task', 'create', '--group', group, '--task', 'evil2', '--title', line);
ctl('alice', 'task', 'claim', 'evil2', '--group', group);
ctl('alice', 'task', 'start', 'evil2', '--group', group);
ctl('alice', 'task', 'fail', 'evil2', '--group', group, '--error', EVIL.slice(0, 200));
ctl('alice', 'offer', 'create', '--group', group, '--title', line, '--description', EVIL, '--text', EVIL, '--price', '3', '--tags', '<i>x</i>');
ctl('alice', 'presence', 'set', '--group', group, 'busy', '--metadata', JSON.stringify({ '<b>key</b>': EVIL, nested: { html: EVIL } }));
ctl('alice', 'claim', 'publish', '--group', group, '--text', 'with evidence', '--evidence-note', EVIL.slice(0, 200));
const alice = await open('alice');
const a = alice.page;
const bob = await open('bob');
await bob.page.getByRole('button', { name: 'Join by a ticket' }).first().click();
const dialog = bob.page.locator('dialog');
await dialog.getByLabel('Ticket, or the whole id').fill(group);
await dialog.getByLabel('A word to the admins').fill(line);
await dialog.getByRole('button', { name: 'Join' }).click();
await go(a, `#/group/${group}`);
await a.getByText('onerror=').first().waitFor();
await shot(a, 'hostile-group');
await a.getByRole('button', { name: 'Approve bob' }).click();
await bob.page.getByRole('heading', { name: 'large' }).waitFor({ timeout: 60_000 });

const claims = ctl('alice', 'claim', 'list', '--group', group, '--limit', '3').claims;
const pages = ['#/', `#/knowledge/${group}`, ...claims.map(({ claim_hash }) => `#/knowledge/${group}/${claim_hash}`), `#/tasks/${group}`, `#/presence/${group}`, `#/group/${group}`,
  `#/tokens/${group}`, '#/market', '#/peers', '#/agents', '#/events', '#/settings', `#/knowledge/${group}/${encodeURIComponent(EVIL)}`, `#/${encodeURIComponent(EVIL)}`, '#/tasks/%', '#/events/..'];
for (const page of [a, bob.page]) {
  alice.may(/404|400/);
  bob.may(/404|400/);
  for (const [at, hash] of pages.entries()) {
    await go(page, hash);
    check(await page.evaluate(() => window.hacked === undefined && !document.querySelector('main img, main script, main b, main i:not([class])')), `${hash} made markup of text`);
    if (at === 5) {
      await page.getByRole('button', { name: line, exact: true }).first().click();
      await page.locator('dialog pre', { hasText: 'onerror' }).or(page.locator('dialog', { hasText: 'onerror' })).first().waitFor();
      await page.keyboard.press('Escape');
    }
  }
}
await go(a, `#/knowledge/${group}`);
await a.getByRole('searchbox').fill(EVIL);
await a.getByRole('button', { name: 'Search' }).click();
await settle(a);
await look(a, 'hostile search');

// ---- a page of another origin, in the same browser ----
const evil = http.createServer((request, response) => {
  evil.cookies = `${evil.cookies ?? ''}${request.headers.cookie ?? ''}`;
  evil.keys = `${evil.keys ?? ''}${request.headers['lbm-panel-key'] ?? ''}`;
  response.setHeader('content-type', 'text/html');
  response.end(`<!doctype html><title>evil</title><form id=f method=post action="${alice.origin}/api/v1/groups" enctype="text/plain"><input name='{"name":"stolen","x":"' value='"}'></form><iframe src="${alice.origin}/"></iframe>`);
});
await new Promise((ready) => { evil.listen(0, '127.0.0.1', ready); });
const foreign = await browser.newContext({ storageState: await alice.context.storageState() });
const e = await foreign.newPage();
await e.goto(`http://127.0.0.1:${evil.address().port}/`);
const tried = await e.evaluate(async (origin) => {
  const all = [];
  const send = async (path, init) => { try { const answer = await fetch(origin + path, { credentials: 'include', ...init }); all.push(`${path} ${answer.type} ${answer.status}`); } catch { all.push(`${path} refused`); } };
  await send('/api/v1/status');
  await send('/api/v1/groups', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"stolen"}' });
  await send('/api/v1/groups', { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'text/plain' }, body: '{"name":"stolen"}' });
  await send('/session', { method: 'DELETE' });
  const image = new Image();
  await new Promise((done) => { image.onload = () => { all.push('image loaded'); done(); }; image.onerror = done; image.src = `${origin}/assets/icon.svg`; });
  return all;
}, alice.origin);
check(tried.every((one) => / refused$| opaque 0$/.test(one)), `another page gets an answer: ${tried.join('; ')}`);
await e.waitForTimeout(300);
check(!e.frames().some((frame) => frame.url().startsWith(alice.origin) && frame !== e.mainFrame()), 'the panel is in a frame');
await Promise.all([e.waitForURL('**/api/v1/groups'), e.evaluate(() => document.getElementById('f').submit())]);
check(/wrong_origin/.test(await e.content()), 'a form of another page is refused');
check(ctl('alice', 'group', 'list').groups.length === 1, 'another page created a group');
check(!evil.keys, 'the key went to another port');
evil.close();
await foreign.close();

// ---- its own page asks nobody else ----
alice.may(/Content Security Policy|404|400|ERR_/);
const outside = await a.evaluate(() => fetch('https://example.com/').then(() => 'sent', () => 'refused'));
check(outside === 'refused', 'the policy lets the page ask others');

// ---- ten thousand claims, a thousand tasks ----
for (let from = 0; from < 1000; from += 100) {
  await a.evaluate(async ([g, begin]) => {
    const key = localStorage.getItem('lbm-panel-key');
    await Promise.all(Array.from({ length: 100 }, (_, n) => fetch(`/api/v1/groups/${g}/tasks`, { method: 'POST', headers: { 'lbm-panel-key': key, 'content-type': 'application/json' }, body: JSON.stringify({ task_id: `many-${begin + n}`, title: `Task ${begin + n} of many` }) })));
  }, [group, from]);
}
for (const [hash, words] of [[`#/knowledge/${group}`, 'claims'], [`#/tasks/${group}`, 'tasks']]) {
  const began = Date.now();
  await go(a, '#/settings');
  await go(a, hash);
  const more = a.getByRole('button', { name: `Show more ${words}` }).first();
  await more.waitFor();
  const took = Date.now() - began;
  console.log(`${words}: shown after ${took} ms`);
  check(took < 4000, `${words} take ${took} ms`);
  const rows = await a.locator('article, .task').count();
  check(rows > 20 && rows < 200, `${rows} rows at first`);
  await more.click();
  await a.waitForFunction((before) => document.querySelectorAll('article, .task').length > before, rows);
  await look(a, `many ${words}`);
}
await end();
