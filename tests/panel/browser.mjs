// A real Chromium for the tests of the panel, and what they have in common.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';

const need = createRequire(path.join(process.env.LBM_PANEL_TOOLS, 'package.json'));
const { chromium } = need('playwright-core');
const axe = fs.readFileSync(need.resolve('axe-core/axe.min.js'), 'utf8');
export const know = JSON.parse(process.env.LBM_PANEL_KNOW);
fs.mkdirSync(know.shots, { recursive: true });

const faults = [];
/** Notes what does not hold; the script goes on, and fails at its end. */
export function check(holds, what) {
  if (!holds) {
    faults.push(what);
    console.log(`FAULT ${what}`);
  }
}

export const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** Runs `lbm ctl` on a node. */
export function ctl(who, ...args) {
  return JSON.parse(execFileSync(know.lbm, ['ctl', ...args, '--json', '--data', know[who].data], { encoding: 'utf8' }));
}

const asked = new Set();
/** A browser that is logged in to a node's panel. What it says on its console is a fault, but for what `may` matches. */
export async function open(who, { viewer = false, may = null, width = 1280 } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 860 }, permissions: [] });
  const { url } = ctl(who, 'admin', 'url', ...(viewer ? ['--read-only'] : []));
  const origin = new URL(url).origin;
  context.setDefaultTimeout(15_000);
  context.on('request', (request) => {
    const to = new URL(request.url());
    asked.add(to.origin);
    if (to.protocol.startsWith('http') && to.origin !== origin) check(false, `a request leaves for ${to.origin}`);
  });
  // Who works on the page need not build the daemon for each change of it.
  const files = process.env.LBM_PANEL_ASSETS;
  if (files) {
    await context.route(/\/assets\/[a-z.]+$/, async (route) => route.fulfill({
      path: path.join(files, path.basename(new URL(route.request().url()).pathname)), headers: (await route.fetch()).headers(),
    }));
  }
  const watch = (page) => {
    page.on('pageerror', (error) => check(false, `${who}: ${error.stack}`));
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type()) || may?.test(message.text())) return;
      check(false, `${who}'s console: ${message.text()} ${message.location().url}`);
    });
  };
  context.on('page', watch);
  const page = await context.newPage();
  await page.goto(url);
  await page.getByText('Live', { exact: true }).waitFor();
  return { page, context, origin, may: (pattern) => { may = pattern; } };
}

/** Goes to a page by its address, and waits until it has fetched what it shows. */
export async function go(page, hash) {
  await page.evaluate((to) => { location.hash = to; }, hash);
  await settle(page);
}

export async function settle(page) {
  await page.locator('main h1').first().waitFor().catch((error) => { throw new Error(`${page.url()}: ${error.message}`); });
  await page.waitForFunction(() => !document.querySelector('.skeleton'));
}

/** Fills the dialog that is open, and sends it. */
export async function fill(page, fields, verb) {
  const dialog = page.locator('dialog');
  for (const [label, value] of Object.entries(fields)) {
    const field = dialog.getByLabel(label, { exact: false }).first();
    if (await field.evaluate((node) => node.tagName === 'SELECT')) await field.selectOption(value);
    else await field.fill(String(value));
  }
  await dialog.getByRole('button', { name: verb }).click();
}

export const shot = (page, name) => page.screenshot({ path: path.join(know.shots, `${name}.png`), fullPage: true });

/** Looks at a page as it is: no fault of accessibility, and nothing wider than the screen. */
export async function look(page, name) {
  const found = await page.evaluate(async (source) => {
    if (!window.axe) (0, eval)(source);
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 2).map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join(' | ')}`);
  }, axe);
  found.forEach((fault) => check(false, `${name}: ${fault}`));
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(over <= 0, `${name} is ${over} pixels wider than the screen`);
}

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function have(done, who) {
  process.stdout.write(`${done} ${who}\n`);
  await answers.next();
}

/** Has a daemon killed and started anew. */
export const restart = (who) => have('restart', who);
/** Has a daemon killed, and has it started anew. */
export const down = (who) => have('down', who);
export const up = (who) => have('up', who);
/** Has it killed and started, after so long that whoever is logged in has been idle for too long. */
export const idle = (who) => have('idle', who);
/** Has a peer talk rubbish to a daemon until it is sent away. */
export const vandal = (who) => have('vandal', who);

export async function end() {
  await browser.close();
  console.log(`asked: ${[...asked].join(' ')}`);
  if (faults.length) console.log(`${faults.length} faults`);
  process.exit(faults.length ? 1 : 0);
}

process.on('uncaughtException', async (error) => {
  console.log(`FAULT ${error.stack ?? error}`);
  for (const [at, context] of browser.contexts().entries()) {
    for (const [of, page] of context.pages().entries()) await page.screenshot({ path: path.join(know.shots, `failed-${at}-${of}.png`) }).catch(() => {});
  }
  await browser.close();
  process.exit(1);
});
