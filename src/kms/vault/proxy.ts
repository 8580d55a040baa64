import { BlockList, isIP } from 'node:net';

/**
 * Finds the proxy that the environment names for a server. Reads `HTTPS_PROXY` and `NO_PROXY`, in upper
 * or lower case, as Vault's own command does, and never uses a proxy for this machine itself.
 */
export function proxyFor(server: URL, env: NodeJS.ProcessEnv = process.env): URL | undefined {
  const proxy = env['HTTPS_PROXY'] ?? env['https_proxy'] ?? '';
  if (proxy === '' || server.protocol !== 'https:') return undefined;
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || isLoopback(host)) return undefined;
  const exceptions = (env['NO_PROXY'] ?? env['no_proxy'] ?? '').split(',');
  const port = server.port === '' ? '443' : server.port;
  if (exceptions.some((exception) => covers(exception.trim().toLowerCase(), host, port))) {
    return undefined;
  }
  return new URL(proxy.includes('://') ? proxy : `http://${proxy}`);
}

/** Matches `*`, a domain and its subdomains, `.domain` for subdomains alone, an address, or a range of them. */
function covers(exception: string, host: string, port: string): boolean {
  if (exception === '' || exception === '*') return exception === '*';
  if (exception.includes('/')) return isIP(host) !== 0 && isInRange(exception, host);
  const [, name = exception, onlyPort = port] = /^(.*[^:\]]|\[.*\]):(\d+)$/.exec(exception) ?? [];
  if (onlyPort !== port) return false;
  const domain = name.replace(/^\*?\./, '.').replace(/^\[|\]$/g, '');
  if (host === domain) return true;
  return isIP(host) === 0 && host.endsWith(domain.startsWith('.') ? domain : `.${domain}`);
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && (isInRange('127.0.0.0/8', host) || isInRange('::1/128', host));
}

function isInRange(range: string, host: string): boolean {
  const [net = '', bits] = range.split('/');
  const family = isIP(net) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(net) === 0 || isIP(net) !== isIP(host)) return false;
  const list = new BlockList();
  try {
    list.addSubnet(net, Number(bits), family);
  } catch {
    return false;
  }
  return list.check(host, family);
}
