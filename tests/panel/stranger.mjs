// What somebody who has never seen it does: links opened where the panel is open already, Back, two tabs, no mouse, and being shut out.
import { check, ctl, down, end, fill, go, know, look, open, shot, up } from './browser.mjs';

const button = (page, name) => page.getByRole('button', { name, exact: true });
const toast = (page, text) => page.locator('.toast', { hasText: text }).first().waitFor();
const group = know.group;

const alice = await open('alice');
const a = alice.page;
const bob = await open('bob', { width: 390 });
const b = bob.page;

// ---- in and out: all tabs of a browser together ----
const other = await alice.context.newPage();
await other.goto(`${alice.origin}/`);
await other.getByText('Live', { exact: true }).waitFor();
alice.may(/Failed to load resource|ERR_/);
await button(a, 'Log out').click();
await a.getByText('Nobody is logged in here').waitFor();
await other.getByText('Nobody is logged in here').waitFor();
await a.goto(ctl('alice', 'admin', 'url').url);
await a.getByText('Live', { exact: true }).waitFor();
check(!a.url().includes('login'), 'the link is in the address no more');
await other.getByText('Live', { exact: true }).waitFor();
await other.close();
alice.may(null);

// ---- a search can be gone back to ----
await go(a, `#/knowledge/${group}`);
for (const [Title, text] of [['Cold cache', 'The cache / the whole of it is cold at noon?'], ['', 'long '.repeat(2_000)], ['سؤال', 'מה זה? 123']]) {
  await button(a, 'Publish a claim').click();
  await fill(a, { Title, 'What you learned': text }, 'Publish');
  await a.locator('dialog').waitFor({ state: 'detached' });
}
await a.locator('.side', { hasText: '3 claims' }).waitFor();
await a.getByRole('searchbox').fill('cache / whole?');
await a.keyboard.press('Enter');
const found = a.locator('article', { hasText: 'cold at noon' });
await found.getByText('Score').waitFor();
check(await a.locator('article').count() === 1, 'the others do not fit');
await found.getByRole('link', { name: /^Thread/ }).click();
await a.getByText('Where it comes from').waitFor();
check(await a.getByText(know.alice.id.slice(-8)).count() === 1, 'who is known by a name is not shown by two ids');
await a.goBack();
await found.getByText('Score').waitFor();
check(await a.getByRole('searchbox').inputValue() === 'cache / whole?', 'the words of the search are there again');
await a.reload();
await found.getByText('Score').waitFor();
await button(a, 'Back to the newest').click();
await a.locator('article', { hasText: 'long long' }).waitFor();
check(await a.getByRole('searchbox').inputValue() === '', 'and are gone with it');
check(await a.locator('article', { hasText: 'long long' }).locator('.text').evaluate((text) => text.clientHeight < 200 && text.scrollHeight > text.clientHeight), 'a long claim is cut');
check(await a.locator('article h3', { hasText: 'سؤال' }).evaluate((title) => getComputedStyle(title).direction) === 'rtl', 'what is written from the right begins there');

// ---- a second machine comes in by a ticket; what is said above a dialog can be read ----
await go(a, `#/group/${group}`);
await button(a, 'Invite').click();
await fill(a, {}, 'Make a ticket');
const ticket = await a.locator('dialog [data-ticket]').innerText();
await button(a, 'Copy the ticket').click();
await toast(a, 'ticket');
const onTop = await a.locator('.toast').first().evaluate((said) => {
  const { x, y } = said.getBoundingClientRect();
  return said.parentElement.matches(':popover-open') && x > 0 && y > 0 && y < innerHeight;
});
check(onTop, 'it stands above the dialog');
await button(a, 'Done').click();
await go(b, '#/');
await button(b, 'Join by a ticket').first().click();
await fill(b, { Ticket: ticket }, 'Join');
await b.getByRole('heading', { name: 'stranger' }).waitFor({ timeout: 30_000 });
await go(b, `#/knowledge/${group}`);
await b.locator('.side', { hasText: '3 claims' }).waitFor();
await b.locator('article', { hasText: 'cold at noon' }).getByRole('link', { name: /^Thread/ }).click();
await button(b, 'Reply').waitFor();
check(await button(b, 'Retract').count() === 0, 'what another has said is not offered to be taken back');

// ---- tasks without a mouse, and amounts as they were typed ----
await go(a, `#/tasks/${group}`);
await a.getByText('Nothing is free').waitFor();
await button(a, 'Create a task').click();
await fill(a, { Title: 'Sweep up', Reward: '9007199254740993' }, 'Create the task');
const refused = await a.locator('dialog [name=reward]').evaluate((field) => field.validity.rangeOverflow);
check(refused, 'an amount that a page cannot hold is not rounded');
await fill(a, { Reward: '9007199254740991' }, 'Create the task');
await a.locator('[data-column=pending]').getByText('Sweep up').waitFor();
check(ctl('alice', 'task', 'list', '--group', group).tasks[0].reward === Number.MAX_SAFE_INTEGER, 'the reward is what was typed');
await button(a, 'Move to… Sweep up').focus();
await a.keyboard.press('Enter');
await a.locator('[role=menuitem]:focus').waitFor();
await a.keyboard.press('Enter');
await a.locator('[data-column=assigned]').getByText('Sweep up').waitFor();
await a.waitForFunction(() => document.activeElement?.closest('.task')?.textContent.includes('Sweep up')).catch(() => check(false, 'the focus stays with the card'));

// ---- what a task waits for is found by its words ----
await button(a, 'Create a task').click();
await a.locator('dialog').getByLabel('Waits for').fill('no such');
await a.getByText('No open task has these words').waitFor();
await a.locator('dialog').getByLabel('Waits for').fill('SWEEP');
await button(a, 'Wait for Sweep up').waitFor();
await a.keyboard.press('Enter');
await button(a, 'Remove Sweep up').waitFor();
await look(a, 'what a task waits for');
await shot(a, 'waits-for-desktop-light');
await fill(a, { Title: 'Polish' }, 'Create the task');
await a.locator('[data-column=pending] .task', { hasText: 'Polish' }).getByText('waits for others').waitFor();
const [swept] = ctl('alice', 'task', 'list', '--group', group).tasks.filter((task) => task.title === 'Sweep up');
const [polish] = ctl('alice', 'task', 'list', '--group', group).tasks.filter((task) => task.title === 'Polish');
const { blocked_by: blocked } = ctl('alice', 'task', 'show', polish.task_id, '--group', group);
check(blocked.length === 1 && blocked[0].task_id === swept.task_id, `it waits for ${JSON.stringify(blocked)}`);

// ---- what the daemon names as a command is a place here; the settings are read again from here ----
const said = await a.evaluate(async (id) => (await import('/assets/words.js')).placed(`see \`lbm ctl peer list\`, or \`lbm ctl group add-member --group ${id}\``), group);
check(said === `see the page Peers, or \`lbm ctl group add-member --group ${group}\``, said);
await go(a, '#/settings');
await button(a, 'Read again').click();
await toast(a, 'nothing new');

// ---- a group that is not here is not another one; what is asked for can be given up ----
const nowhere = 'cd'.repeat(32);
await go(b, `#/tasks/${nowhere}`);
await b.getByText('This node has no such group').waitFor();
await go(b, '#/');
await button(b, 'Join by a ticket').first().click();
bob.may(/status of 4/);
await fill(b, { Ticket: nowhere }, 'Join');
await b.locator('dialog [role=alert]').getByText(`--group ${nowhere}`).waitFor({ timeout: 30_000 });
bob.may(null);
await b.keyboard.press('Escape');
await go(b, `#/group/${nowhere}`);
await b.getByText('It is being joined').waitFor();
await look(b, 'joining');
await button(b, 'Stop asking').click();
await toast(b, 'asks no more');

// ---- above the limit, from the panel alone ----
await go(a, `#/tokens/${group}`);
await button(a, 'Make').click();
await fill(a, { To: know.bob.id, Tokens: 100 }, 'Make tokens');
await go(a, '#/market');
await button(a, 'Sell something').click();
await fill(a, { Title: 'Dear', Price: 60, 'What is sold': 'The words.' }, 'Offer it');
await go(b, `#/tokens/${group}`);
await b.locator('.stats').getByText('100', { exact: true }).waitFor();
await button(b, 'Limit').click();
await fill(b, { 'Tokens in any 24 hours': 40 }, 'Set');
await b.getByText('of at most 40').waitFor();
await look(b, 'a limit');
await go(b, '#/market');
await button(b, 'Buy Dear').click();
await b.locator('dialog').getByRole('button', { name: /^Buy for 60/ }).click();
await toast(b, 'waits until a person approves it');
await button(b, 'Approve Dear').click();
await b.locator('.steps li.done', { hasText: 'Settled' }).waitFor({ timeout: 30_000 });

// ---- what is paused, and what is over, is said first ----
await go(b, '#/peers');
await b.getByRole('button', { name: /^Pause:/ }).click();
await b.locator('.badge', { hasText: 'paused' }).waitFor();
await go(b, '#/');
await b.getByText('stranger is paused').waitFor();
check(await b.getByText('All is well').count() === 0, 'not all is well');
await go(b, '#/peers');
await b.getByRole('button', { name: /^Go on/ }).click();
await b.locator('.badge', { hasText: 'live' }).waitFor();

// ---- who may only read is told so before, and not when it tries ----
const off = async (name, why) => {
  await b.locator(`button[title*="${why}"]`, { hasText: name }).first().waitFor();
  check(await button(b, name).first().isDisabled(), `${name} is off: ${why}`);
};
await go(b, `#/knowledge/${group}`);
check(await button(b, 'Publish a claim').isEnabled(), 'a member may publish');
ctl('alice', 'group', 'set-role', '--group', group, '--member', know.bob.id, '--role', 'viewer');
await b.getByText('This node is a viewer of stranger').waitFor();
await off('Publish a claim', 'is a viewer of stranger');
await look(b, 'a viewer');
await go(b, `#/tasks/${group}`);
await off('Create a task', 'is a viewer of stranger');
check(await b.getByRole('button', { name: /^Move to/ }).count() === 0, 'a viewer moves no task');
await go(b, `#/tokens/${group}`);
check(await button(b, 'Give').isEnabled(), 'a viewer may give what it has');
await go(b, '#/market');
await off('Sell something', 'in none of its groups');
ctl('alice', 'group', 'set-role', '--group', group, '--member', know.bob.id, '--role', 'member');
await go(b, `#/knowledge/${group}`);
await b.locator('button:enabled', { hasText: 'Publish a claim' }).waitFor();

// ---- who was removed behind its back: nothing can be written, and what was written is found ----
alice.may(/Failed to load resource|ERR_/);
bob.may(/Failed to load resource|ERR_/);
await down('alice');
ctl('bob', 'claim', 'publish', '--group', group, '--text', 'Nobody has heard this');
await down('bob');
await up('alice');
ctl('alice', 'group', 'remove-member', '--group', group, '--member', know.bob.id);
await up('bob');
// Both have new addresses.
ctl('alice', 'peer', 'add', '--addr', ctl('bob', 'status').listen[0]);
await b.getByRole('alert').filter({ hasText: 'no member of stranger any more' }).waitFor({ timeout: 60_000 });
alice.may(null);
bob.may(null);
check((await b.getByRole('alert').first().innerText()).includes('an admin has removed it'), 'it says why');
await off('Publish a claim', 'no member of stranger');
await go(b, `#/tokens/${group}`);
await off('Give', 'no member of stranger');
await go(b, `#/group/${group}`);
check(await button(b, 'Leave').isEnabled(), 'it can leave');
await go(b, `#/knowledge/${group}`);
await look(b, 'shut out');
await shot(b, 'out-of-a-group-phone-light');
await go(b, '#/');
await b.locator('.feed .bad').filter({ hasText: 'no member' }).first().waitFor();
check(await b.getByText('All is well').count() === 0, 'being shut out is not well');
await b.getByRole('link', { name: 'See what was written' }).click();
await b.getByText('Nobody has heard this').waitFor();
await button(b, 'Copy the claim Nobody has heard this').waitFor();
await look(b, 'left behind');
await shot(b, 'left-behind-phone-light');
await end();
