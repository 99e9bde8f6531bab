// What a person decides: who gets in and by what, who is let back, what agents there are, what may be spent; and who is logged out.
import { check, ctl, end, fill, go, idle, know, look, open, settle, vandal } from './browser.mjs';

const EVIL = '<img src=x onerror="window.hacked=1">';
const button = (page, name) => page.getByRole('button', { name, exact: true });
const toast = (page, text) => page.locator('.toast', { hasText: text }).first().waitFor();
const harmless = async (page, where) => check(await page.evaluate(() => window.hacked === undefined && !document.querySelector('main img, dialog img, .toast img')), `${where} made markup of a name`);

const alice = await open('alice');
const a = alice.page;
const bob = await open('bob');
const b = bob.page;

// ---- names that would be markup ----
alice.may(/status of 400/);
await button(a, 'Create a group').first().click();
await fill(a, { Name: EVIL }, 'Create the group');
await a.locator('dialog [role=alert]').waitFor();
await harmless(a, 'a group');
await fill(a, { Name: 'lab' }, 'Create the group');
await a.getByRole('heading', { name: 'lab' }).waitFor();
const group = ctl('alice', 'group', 'list').groups[0].group_id;
await go(a, '#/peers');
await a.getByRole('button', { name: /^Name / }).first().click();
await fill(a, { 'Its name here': EVIL }, 'Call it so');
await a.locator('dialog [role=alert]').waitFor();
await harmless(a, 'a peer');
await a.keyboard.press('Escape');
await go(a, '#/agents');
await button(a, 'Make an agent').click();
await fill(a, { Name: EVIL.slice(0, 32) }, 'Make it');
await a.locator('dialog [role=alert]').waitFor();
await harmless(a, 'an agent');

// ---- an agent comes and goes ----
await fill(a, { Name: 'scout', Group: group }, 'Make it');
await a.getByRole('row').filter({ hasText: 'scout' }).waitFor();
alice.may(null);
check(ctl('alice', 'agent', 'list').agents[0].agent === 'scout', 'the agent is there');
await button(a, 'Revoke scout').click();
await button(a, 'Revoke it').click();
await toast(a, 'scout is gone.');
await a.getByText('This node hosts no agent').waitFor();

// ---- in by a ticket, that is taken from one panel to the other ----
await go(a, `#/group/${group}`);
await button(a, 'Invite').click();
await fill(a, { 'How many it lets in': 1 }, 'Make a ticket');
const ticket = (await a.locator('dialog [data-ticket]').innerText()).trim();
await button(a, 'Done').click();
bob.may(/status of 4/);
await button(b, 'Join by a ticket').first().click();
await fill(b, { 'Ticket, or the whole id': `${ticket.slice(0, -6)}qqqqqq` }, 'Join');
await b.locator('dialog [role=alert]').waitFor();
await look(b, 'a ticket that is none');
await fill(b, { 'Ticket, or the whole id': ticket }, 'Join');
await b.getByRole('heading', { name: 'lab' }).waitFor({ timeout: 30_000 });
bob.may(null);
await a.getByRole('row').filter({ hasText: know.bob.id.slice(-6) }).or(a.getByRole('row').filter({ hasText: 'bob' })).first().waitFor();

// ---- above the limit, a person says yes ----
ctl('alice', 'token', 'mint', '--group', group, '--to', know.bob.id, '--amount', '100');
ctl('alice', 'offer', 'create', '--group', group, '--title', 'Dear', '--text', 'what is dear', '--price', '40');
ctl('bob', 'offer', 'limit', '--group', group, '--per-day', '10');
await go(b, '#/market');
await button(b, 'Buy Dear').click();
await b.locator('dialog').getByRole('button', { name: /^Buy for 40/ }).click();
await b.getByText('above the spending limit').waitFor();
await look(b, 'a purchase that waits');
await button(b, 'Approve Dear').click();
await b.locator('.steps li.done', { hasText: 'Settled' }).waitFor({ timeout: 30_000 });
await button(b, 'Open Dear').click();
await b.locator('dialog').getByText('what is dear').waitFor();
await b.keyboard.press('Escape');

// ---- a peer that talks rubbish is sent away, and let back ----
await vandal('alice');
await go(a, '#/peers');
await a.getByRole('heading', { name: 'Sent away' }).waitFor();
await look(a, 'a ban');
await a.getByRole('button', { name: /^Let it back/ }).click();
await toast(a, 'It may come back.');
await a.getByRole('button', { name: /^Let it back/ }).waitFor({ state: 'detached' });
check(ctl('alice', 'peer', 'bans').bans.every((ban) => !ban.in_force), 'nobody is kept away any more');
// ---- who does not touch the page for half an hour is out, and nothing of it stays on the screen ----
alice.may(/Failed to load resource|ERR_/);
await go(a, '#/settings');
await settle(a);
await idle('alice');
await a.getByText('lbm ctl admin url').waitFor({ timeout: 60_000 });
check(await a.getByRole('navigation').count() === 0, 'nothing of the node shows');
check(await a.evaluate(() => localStorage.getItem('lbm-panel-key')) === null, 'the key is forgotten');
await look(a, 'idle for too long');
await end();
