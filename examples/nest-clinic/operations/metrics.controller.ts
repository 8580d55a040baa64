import { Controller, Get, Header } from '@nestjs/common';
import type { FieldEncryption } from 'typeorm-field-encryption';
import { InjectFieldEncryption } from 'typeorm-field-encryption/nestjs';

@Controller('metrics')
export class MetricsController {
  constructor(@InjectFieldEncryption() private readonly encryption: FieldEncryption) {}

  /** For Prometheus: alert on keys usable for less time than an outage may last. */
  @Get()
  @Header('Content-Type', 'text/plain; version=0.0.4')
  async metrics(): Promise<string> {
    const { ok, kms, keys } = await this.encryption.health();
    return [
      `field_encryption_up ${String(+ok)}`,
      `field_encryption_kms_up ${String(+kms.ok)}`,
      ...keys.map(({ name, purpose, usableForMs }) => {
        const labels = `name="${name}",purpose="${purpose}"`;
        const seconds = String(usableForMs / 1000);
        return `field_encryption_key_usable_seconds{${labels}} ${seconds}`;
      }),
      '',
    ].join('\n');
  }
}
