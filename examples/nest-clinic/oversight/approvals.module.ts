import { Module } from '@nestjs/common';

import { StaffModule } from '../staff/staff.module.js';

import { ApprovalsController } from './approvals.controller.js';

@Module({ imports: [StaffModule], controllers: [ApprovalsController] })
export class ApprovalsModule {}
