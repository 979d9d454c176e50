import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DURATION, formatDuration, formatSize, parseDuration, parseSize, SIZE } from '../src/config/units.js';

describe('durations', () => {
  it.each([
    ['0s', 0],
    ['500ms', 500],
    ['90s', 90_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['30d', 2_592_000_000],
  ])('reads %s as %d ms', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each([
    '',
    's',
    '1',
    '-1s',
    '1.5h',
    '1 s',
    ' 1s',
    '1s\n',
    '1S',
    '1w',
    '1h30m',
    '٣s',
    '1e3s',
    '0x1s',
    '9999999999999d',
  ])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    [0, '0s'],
    [1, '1ms'],
    [1000, '1s'],
    [60_000, '60s'],
    [120_000, '2m'],
    [3_600_000, '60m'],
    [86_400_000, '24h'],
    [2_592_000_000, '30d'],
  ])('writes %d ms as %s', (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text);
  });

  it('reads back every duration it writes', () => {
    fc.assert(
      fc.property(fc.nat({ max: 999_999_999_999 }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });

  it('counts every unit as often as it says', () => {
    const unit = fc.constantFrom(['ms', 1], ['s', 1000], ['m', 60_000], ['h', 3_600_000], ['d', 86_400_000]);
    fc.assert(
      fc.property(fc.nat({ max: 100_000 }), unit, (count, [name, size]) => {
        expect(parseDuration(`${count}${name as string}`)).toBe(count * (size as number));
      }),
    );
  });

  it('reads nothing that the pattern does not allow, and a whole number or nothing from the rest', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(DURATION)), (text) => {
        const value = parseDuration(text);
        if (!DURATION.test(text)) expect(value).toBeUndefined();
        else expect(value === undefined || Number.isSafeInteger(value)).toBe(true);
      }),
    );
  });
});

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['1000', 1000],
    ['100B', 100],
    ['5KB', 5000],
    ['5kb', 5000],
    ['256KiB', 262_144],
    ['20MB', 20_000_000],
    ['20MiB', 20_971_520],
    ['1GB', 1_000_000_000],
    ['1GiB', 1_073_741_824],
  ])('reads %s as %d octets', (text, octets) => {
    expect(parseSize(text)).toBe(octets);
  });

  it.each([
    '',
    'B',
    '-1',
    '1.5MiB',
    '1 MiB',
    '1M',
    '1Mi',
    '1TB',
    '20XB',
    '1e3',
    '1MiB\n',
    '999999999999999GiB',
  ])('refuses %j', (text) => {
    expect(parseSize(text)).toBeUndefined();
  });

  it.each([
    [0, '0B'],
    [1, '1B'],
    [1000, '1KB'],
    [1024, '1KiB'],
    [268_435_456, '256MiB'],
    [1_073_741_824, '1GiB'],
    [1_000_001, '1000001B'],
  ])('writes %d octets as %s', (octets, text) => {
    expect(formatSize(octets)).toBe(text);
  });

  it('reads back every size it writes', () => {
    const size = fc.oneof(
      fc.nat(),
      fc.nat(1000).map((count) => count * 1024 ** 2),
      fc.nat(1000).map((n) => n * 1000 ** 3),
    );
    fc.assert(
      fc.property(size, (octets) => {
        expect(parseSize(formatSize(octets))).toBe(octets);
      }),
    );
  });

  it('reads nothing that the pattern does not allow, and a whole number or nothing from the rest', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(SIZE)), (text) => {
        const value = parseSize(text);
        if (!SIZE.test(text)) expect(value).toBeUndefined();
        else expect(value === undefined || Number.isSafeInteger(value)).toBe(true);
      }),
    );
  });
});
