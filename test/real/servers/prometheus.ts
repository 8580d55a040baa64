import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Server } from './availability';
import { freePort, ServerProcess } from './server-process';

/** As a distribution has it: `apt-get install prometheus`. Beside it is `promtool`. */
export const PROMETHEUS: Server = {
  name: 'prometheus',
  version: '2.42 or later',
  install: () => {
    for (const program of ['prometheus', 'promtool']) {
      try {
        execFileSync(program, ['--version'], { stdio: 'ignore' });
      } catch {
        throw new Error(`${program} is not installed (apt-get install prometheus)`);
      }
    }
    return 'prometheus';
  },
};

/** A Prometheus that scrapes one service and evaluates rules, each second. */
export class Prometheus {
  readonly #address: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'field-encryption-prometheus-'));
  readonly #process: ServerProcess;

  private constructor(command: string, port: number, rules: string, target: string) {
    this.#address = `http://127.0.0.1:${String(port)}`;
    const path = (name: string): string => join(this.#folder, name);
    writeFileSync(path('rules.yml'), rules);
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: ['rules.yml'],
      scrape_configs: [{ job_name: 'clinic', static_configs: [{ targets: [target] }] }],
    };
    // JSON is YAML.
    writeFileSync(path('prometheus.yml'), JSON.stringify(config));
    this.#process = new ServerProcess(command, [
      `--config.file=${path('prometheus.yml')}`,
      `--storage.tsdb.path=${path('data')}`,
      `--web.listen-address=127.0.0.1:${String(port)}`,
    ]);
  }

  static async start(command: string, rules: string, target: string): Promise<Prometheus> {
    const server = new Prometheus(command, await freePort(), rules, target);
    await server.#process.ready(async () => (await fetch(`${server.#address}/-/ready`)).ok);
    return server;
  }

  /** The names of the alerts that fire, each once, sorted. */
  async firing(): Promise<string[]> {
    const response = await fetch(`${this.#address}/api/v1/alerts`);
    const { data } = (await response.json()) as {
      data: { alerts: { labels: { alertname: string }; state: string }[] };
    };
    const firing = data.alerts.filter(({ state }) => state === 'firing');
    return [...new Set(firing.map(({ labels }) => labels.alertname))].sort();
  }

  async stop(): Promise<void> {
    await this.#process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
