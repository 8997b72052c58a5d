import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Secrets } from '../../src/cli/secrets.js';

describe('a registered password disappears', () => {
  test.each([
    ['pass word', 'got "pass word" and pass%20word', 'got "****" and ****'],
    ['p@ss/ä', 'p@ss/ä p%40ss%2F%C3%A4 p%40ss%2f%c3%a4', '**** **** ****'],
    // A longer one that holds a shorter one is replaced whole.
    ['aa', 'aa', '****'],
  ])('%s', (secret, text, expected) => {
    const secrets = new Secrets();
    secrets.add(secret);
    expect(secrets.redact(text)).toBe(expected);
  });

  test('the longest first', () => {
    const secrets = new Secrets();
    secrets.add('canary');
    secrets.add('canary-long');
    expect(secrets.redact('canary-long canary')).toBe('**** ****');
  });

  test('whatever it is made of', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6 }), fc.string(), (secret, around) => {
        const secrets = new Secrets();
        secrets.add(secret);
        const clean = secrets.redact(`${around}${secret}${around}`);
        // The mask itself may complete a password made of asterisks.
        fc.pre(!secret.includes('*') && !around.includes(secret));
        expect(clean.replaceAll('****', '\n')).not.toContain(secret);
      }),
    );
  });
});

describe('a connection string gives its password away', () => {
  test.each([
    ['postgres://u:c%61nary@h/d', ['c%61nary', 'canary']],
    ['postgres://u:can:ary@h/d', ['can:ary']],
    ['postgres://u:can@ary@h/d', ['can@ary', 'can']],
    ['postgresql://u@h/d?password=canary&x=1', ['canary']],
    ['host=h password=canary user=u', ['canary']],
    ["host=h password = 'can ary'", ['can ary']],
    ['host=h sslpassword=canary', ['canary']],
  ])('%s', (text, passwords) => {
    const secrets = new Secrets();
    secrets.addConnectionString(text);
    for (const password of passwords) expect(secrets.redact(`<${password}>`)).toBe('<****>');
  });

  test('that cannot be decoded does no harm', () => {
    const secrets = new Secrets();
    secrets.addConnectionString('postgres://u:100%@h/d');
    expect(secrets.redact('<100%>')).toBe('<****>');
  });
});

describe('without knowing it', () => {
  test.each([
    ['postgres://u:canary@h/d', 'postgres://u:****@h/d'],
    ['see POSTGRESQL://u:canary@h and postgres://h/d', 'see POSTGRESQL://u:****@h and postgres://h/d'],
    ['postgres://u:can@ary@h/d', 'postgres://u:****@h/d'],
    ['host=h password=canary user=u', 'host=h password=**** user=u'],
    ["password='can ary' user=u", 'password=**** user=u'],
    ['postgres://u@h/d?password=canary&sslmode=require', 'postgres://u@h/d?password=****&sslmode=require'],
    ['password authentication failed', 'password authentication failed'],
    ['at file:///x/y.js:12:3', 'at file:///x/y.js:12:3'],
  ])('"%s" is shown as "%s"', (text, expected) => {
    expect(new Secrets().redact(text)).toBe(expected);
  });
});
