/** Servers that cut TOP short, and mailboxes whose numbers another client moves. */
import { expect, it, vi } from 'vitest';
import { eachInBox, type Box, mail, subject } from '../support/inprocess.js';
import { maildirMessages } from '../support/stored.js';

const DAY = 24 * 3_600_000;

let box: Box;
eachInBox((fresh) => {
  box = fresh;
});

it('has whole messages stored where TOP is asked for and cut short: nothing of TOP is ever delivered [69]', async () => {
  const twins = [1, 2, 3].map((n) => ({ uid: 'same', data: mail(n) }));
  const TOP = '+OK\r\nSubject: cut sho\r\n.\r\n';
  const server = await box.serve(twins, { overrides: { TOP } });
  for (let run = 0; run < 2; run += 1) await box.run(server);
  const asked = server.sessions.flatMap(({ received }) => received.filter((line) => line.startsWith('TOP ')));
  expect(asked).not.toEqual([]);
  const stored = (await maildirMessages(box.maildir)).map(({ data }) => data.toString());
  const whole = [1, 2, 3].map((n) => mail(n).toString().replaceAll('\r\n', '\n'));
  expect(stored.filter((text) => !whole.includes(text))).toEqual([]);
  expect(stored).not.toEqual([]);
});

it('removes by unique-id: numbers that another client moved since the last run lead to no other message [70]', async () => {
  const server = await box.serve([1, 2, 3].map((n) => ({ uid: `u${n}`, data: mail(n) })));
  await box.fetch(server, { delete: DAY });
  const mailbox = server.mailbox('taro');
  mailbox.remove(mailbox.messages.slice(0, 1));
  mailbox.add({ uid: 'u4', data: mail(4) });
  vi.setSystemTime(Date.now() + 2 * DAY);
  const { asked } = await box.fetch(server, { delete: DAY });
  expect(asked).toEqual([['RETR 3', 'DELE 1', 'DELE 2']]);
  expect(mailbox.uids).toEqual(['u4']);
  expect(await box.subjects()).toEqual([1, 2, 3, 4].map(subject));
});
