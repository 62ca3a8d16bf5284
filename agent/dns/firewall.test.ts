import { describe, expect, it } from 'vitest';
import { ufwProblem } from './firewall.ts';

const on = {
  conf: 'ENABLED=yes\nLOGLEVEL=low\n',
  defaults: 'DEFAULT_INPUT_POLICY="DROP"\n',
  rules: '',
};
const bridge = 'flt-0a1b2c3d';
const rule = (text: string): string => `*filter\n-A ufw-user-input ${text}\nCOMMIT\n`;

describe('ufw', () => {
  const cases: { name: string; files: Partial<typeof on>; isBlocking: boolean }[] = [
    { name: 'that is not there', files: { conf: '', defaults: '' }, isBlocking: false },
    { name: 'that is off', files: { conf: 'ENABLED=no\n' }, isBlocking: false },
    {
      name: 'that drops nothing',
      files: { defaults: 'DEFAULT_INPUT_POLICY="ACCEPT"' },
      isBlocking: false,
    },
    { name: 'as it comes', files: {}, isBlocking: true },
    {
      name: 'with ssh open',
      files: { rules: rule('-p tcp --dport 22 -j ACCEPT') },
      isBlocking: true,
    },
    {
      name: 'with DNS open',
      files: { rules: rule('-p udp --dport 53 -j ACCEPT') },
      isBlocking: false,
    },
    {
      name: 'with DNS open on our bridge',
      files: { rules: rule(`-i ${bridge} -p udp --dport 53 -j ACCEPT`) },
      isBlocking: false,
    },
    {
      name: 'with all open on our bridge',
      files: { rules: rule(`-i ${bridge} -j ACCEPT`) },
      isBlocking: false,
    },
    {
      name: 'with DNS open on another bridge',
      files: { rules: rule('-i docker0 -p udp --dport 53 -j ACCEPT') },
      isBlocking: true,
    },
    {
      name: 'with all open to the LAN',
      files: { rules: rule('-s 192.168.1.0/24 -j ACCEPT') },
      isBlocking: true,
    },
    {
      name: 'with all open to pods',
      files: { rules: rule('-s 10.244.0.0/16 -j ACCEPT') },
      isBlocking: false,
    },
    {
      name: 'with DNS refused',
      files: { rules: rule('-p udp --dport 53 -j DROP') },
      isBlocking: true,
    },
  ];
  it.each(cases)('$name: blocks $isBlocking', ({ files, isBlocking }) => {
    const problem = ufwProblem({ ...on, ...files }, { bridge, port: 53 });
    expect(problem !== undefined).toBe(isBlocking);
    if (isBlocking) expect(problem).toContain(`"ufw allow in on ${bridge} to any port 53"`);
  });
});
