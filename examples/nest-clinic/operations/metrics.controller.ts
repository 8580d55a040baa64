import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Req, Res } from '@nestjs/common';

import { Telemetry } from './telemetry.js';

@Controller('metrics')
export class MetricsController {
  constructor(private readonly telemetry: Telemetry) {}

  /** For Prometheus. Let nobody else in: it names columns, and tells how much they are used. */
  @Get()
  metrics(@Req() request: IncomingMessage, @Res() response: ServerResponse): void {
    this.telemetry.exporter.getMetricsRequestHandler(request, response);
  }
}
